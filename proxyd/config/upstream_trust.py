"""How an `https://` upstream is verified: one SSL context for each kind, made from files that may be broken."""

import ssl
from pathlib import Path

from proxyd.config.host import UpstreamTls
from proxyd.config.regular_file import open_regular


class UpstreamTlsError(Exception):
    """A file of `upstream_tls` cannot be used: `key` names it, the text says why and what it must be."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def upstream_context(options: UpstreamTls) -> ssl.SSLContext:
    """Return what verifies an upstream: chain and name, or (`pin`) nothing: who connects compares the key.

    Reads files. Raises UpstreamTlsError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.hostname_checks_common_name = False
    # A CA in the file is trusted by that, also one that another CA signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if options.pin is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif options.ca is None:
        context.load_default_certs()
    else:
        _load_roots(context, options.ca)
    if options.cert is not None:
        _load_own(context, options.cert, options.key)
    return context


def _load_roots(context: ssl.SSLContext, ca: Path) -> None:
    try:
        with open_regular(ca):
            pass
        context.load_verify_locations(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        message = f"{ca} cannot be used ({_reason(error)}): it must be the CA's root in PEM"
        raise UpstreamTlsError("ca", message) from None


def _load_own(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    for name, file in (("cert", cert), ("key", key)):
        if file is not None:
            try:
                with open_regular(file):
                    pass
            except OSError as error:
                raise UpstreamTlsError(name, f"{file} cannot be read: {error.strerror}") from None
    try:
        # A password would be asked for on the terminal, by whoever started the daemon.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except (OSError, ValueError, ssl.SSLError) as error:
        reason = _reason(error)
        if "KEY_VALUES_MISMATCH" in reason:
            message = f"{cert}: the key in {key or 'it'} is not that of the certificate"
        else:
            where = f" and {key}" if key else ""
            message = f"{cert}{where} cannot be used ({reason}): a certificate and its key without password, in PEM"
        raise UpstreamTlsError("cert", message) from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return getattr(error, "strerror", None) or str(error)
