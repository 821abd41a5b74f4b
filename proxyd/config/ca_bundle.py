"""The file that the API of a CA is verified against."""

import ssl
from pathlib import Path


class CaBundleError(Exception):
    """The file is missing or broken; the text names it and says what it must be."""


def trust(bundle: Path | None) -> ssl.SSLContext:
    """Return how the API of a CA is verified; None: by the system's roots. Raises CaBundleError."""
    try:
        return ssl.create_default_context(cafile=str(bundle) if bundle else None)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CaBundleError(f"{bundle} cannot be used ({reason}): it must be the CA's root in PEM") from error
