"""Asks the user's application whether a name may have a certificate."""

import asyncio
import logging
from dataclasses import dataclass
from enum import Enum

import aiohttp

from proxyd.config.ask_url import AskUrl
from proxyd.core.hostname import Hostname

_log = logging.getLogger("proxyd.ask")
_SECONDS = 2.0
_MAX_LINE = 8190
_HEADERS = {"User-Agent": "proxyd", "Accept": "*/*"}


class Verdict(Enum):
    """What the application said."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict and why."""

    verdict: Verdict
    reason: str


class Ask:
    """GET with `domain=NAME` (2 s in all, no redirects, TLS verified): 2xx allows, 3xx and 4xx deny."""

    def __init__(self) -> None:
        self._sessions: dict[str | None, aiohttp.ClientSession] = {}

    async def ask(self, url: AskUrl, host: Hostname) -> Answer:
        """Return the answer about `host`; never raises."""
        try:
            async with asyncio.timeout(_SECONDS):
                answer = await self._get(url, host)
        except TimeoutError:
            answer = Answer(Verdict.UNREACHABLE, f"{url} gave no answer within {_SECONDS:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            answer = Answer(Verdict.UNREACHABLE, f"{url} cannot be asked: {_shown(error)}")
        _log.debug("asked", extra={"host": host, "verdict": answer.verdict.value, "reason": answer.reason})
        return answer

    async def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _get(self, url: AskUrl, host: Hostname) -> Answer:
        async with self._session(url).get(url.asking(host.text), allow_redirects=False) as response:
            status = response.status
            if 200 <= status < 300:
                return Answer(Verdict.ALLOWED, f"{url} answered {status}")
            if status >= 500:
                return Answer(Verdict.UNREACHABLE, f"{url} answered {status}")
            hint = "; redirects are not followed: set acme.on_demand.ask to where it leads"
            return Answer(Verdict.DENIED, f"{url} answered {status}{hint if 300 <= status < 400 else ''}")

    def _session(self, url: AskUrl) -> aiohttp.ClientSession:
        session = self._sessions.get(url.socket)
        if session is None:
            # Those who ask bound themselves: a queue here would run in the 2 s.
            connector = aiohttp.UnixConnector(url.socket, limit=0) if url.socket else aiohttp.TCPConnector(limit=0)
            session = self._sessions[url.socket] = aiohttp.ClientSession(
                connector=connector,
                headers=_HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=_MAX_LINE,
                max_field_size=_MAX_LINE,
            )
        return session


def _shown(error: Exception) -> str:
    """The text of an error may quote the URL, with the token in its query."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or type(error.os_error).__name__
    return type(error).__name__
