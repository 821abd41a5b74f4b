"""One request to a server of the operator: it took it, or why not."""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from proxyd.admin.alert_channel import ChannelError, reason_of

_SECONDS = 15.0
_AGENT = {"User-Agent": "proxyd"}


async def call(
    url: str, *, method: str, ca: Path | None, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> None:
    """Send it on a connection of its own; redirects are not followed, TLS is verified.

    Raises ChannelError for everything but a status of 2xx; of the URL only the server is named.
    """
    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    try:
        async with asyncio.timeout(_SECONDS):
            trust = await asyncio.to_thread(trusting, ca) if url.startswith("https:") else True
            connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
            async with (
                aiohttp.ClientSession(
                    connector=connector, headers=_AGENT, cookie_jar=aiohttp.DummyCookieJar()
                ) as session,
                session.request(method, url, data=body or None, headers=headers, allow_redirects=False) as response,
            ):
                status = response.status
    except TimeoutError:
        raise ChannelError(
            f"{where} gave no answer within {_SECONDS:.0f} s: is it up, does a firewall drop it?"
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ChannelError(f"{where} cannot be reached: {_reason(error)}") from None
    if 300 <= status < 400:
        raise ChannelError(f"{where} answered {status}, and redirects are not followed: write where it leads")
    if not 200 <= status < 300:
        raise ChannelError(f"{where} answered {status}: look whether the URL is still right, and into its own log")


def trusting(ca: Path | None) -> ssl.SSLContext:
    """Return the context of a client that trusts the CAs of `ca`, or of this machine. Blocks. Raises ChannelError."""
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        reason = (
            "it has no certificates in PEM" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", error)
        )
        raise ChannelError(f"ca {ca} cannot be read: {reason}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
        return f"its certificate is not trusted ({reason}); for a private CA set ca"
    if isinstance(error, aiohttp.ClientConnectorError):
        return reason_of(error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    return type(error).__name__  # the text may quote the URL
