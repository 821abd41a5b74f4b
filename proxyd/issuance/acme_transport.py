"""Signed requests to one ACME CA over aiohttp (RFC 8555 §6): nonces, retries, problem documents kept whole.

Only URLs of the directory's own origin are asked: a CA that names another host could make this machine ask its
neighbours. Every CA that we know keeps to one.
"""

import asyncio
import json
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.connector import NEEDS_CLEANUP_CLOSED
from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL

from proxyd.core.acme_url import Origin, origin
from proxyd.core.clock import Clock
from proxyd.core.clock_watch import TOLERANCE
from proxyd.core.failure import FailureKind, IssuanceError, classify
from proxyd.core.problem import Problem
from proxyd.core.retry_after import parse_retry_after
from proxyd.issuance.acme_error import AcmeProblem, BadNonce, NetworkTrouble, network_message
from proxyd.issuance.acme_signer import AccountSigner
from proxyd.issuance.nonce_pool import NoncePool, usable
from proxyd.issuance.pace import at_once
from proxyd.version import RELEASED, __version__

_log = logging.getLogger("proxyd.acme")
_USER_AGENT = f"proxyd/{__version__} aiohttp/{aiohttp.__version__}"
_SECONDS = 45.0
_KEEPALIVE_SECONDS = 10.0  # a POST on a connection that the CA has just closed cannot be sent twice
_MAX_BODY = 1 << 20
#: Half of all nonces may be refused (Pebble does that on purpose): 0.5^20 is one in a million.
_NONCE_TRIES = 20
_NETWORK_TRIES = 3
_AT_ONCE = 8
_MAX_LINKS = 10
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_DIRECTORY_SECONDS, _DIRECTORY_RETRY_SECONDS = 12 * 3600.0, 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeResponse:
    """A successful answer. `json` is a mapping, empty when the body is none."""

    url: str
    status: int
    location: str | None
    body: bytes
    json: Mapping[str, Any]
    retry_after: timedelta | None
    alternates: tuple[str, ...] = ()  # URLs of other chains (RFC 8555 §7.4.2)


class AcmeTransport:
    """One CA. Every failure is an IssuanceError with its class; retries only what was certainly not done.

    `turn` is awaited before each request: what leads to one is the piece in which certificates are worked at.
    `tls_again` reads anew whom to trust: a person may have mended the file. None: there is none; raises IssuanceError.
    """

    def __init__(
        self,
        *,
        directory_url: str,
        tls: ssl.SSLContext,
        clock: Clock,
        rng: random.Random,
        request_seconds: float = _SECONDS,
        dated: Callable[[str, datetime | None], None] = lambda _by, _date: None,
        turn: Callable[[], Awaitable[None]] = at_once,
        tls_again: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        self._directory_url = directory_url
        self._name = urlsplit(directory_url).netloc
        self._tls = tls
        self._tls_again = tls_again
        self._clock = clock
        self._rng = rng
        self._seconds = request_seconds
        self._dated = dated
        self._turn = turn
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._proxies: dict[str, Mapping[str, Any]] = {}
        self._is_dated = False
        self._nonces = NoncePool(clock=clock)
        self._session: aiohttp.ClientSession | None = None
        self._directory: Mapping[str, Any] | None = None
        self._origin: Origin | None = None
        self._fresh_until = 0.0
        self._fetching = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections to the CA."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify the CA's API by `tls` from now on."""
        self._tls = tls

    async def directory(self, *, instead_of: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Return the CA's directory (RFC 8555 §7.1.1), fetched twice a day. Raises IssuanceError.

        `instead_of`: what was returned before lacks something, and it is fetched anew.
        """
        async with self._fetching:
            known = self._directory
            if known is not None and known is not instead_of and self._clock.monotonic() < self._fresh_until:
                return known
            if self._clock.now() < RELEASED:
                raise IssuanceError(
                    FailureKind.LOCAL,
                    f"the clock of this machine says {self._clock.now():%Y-%m-%d}, before this program was made: "
                    "set it (timedatectl set-ntp true); no CA is asked until then",
                )
            try:
                self._directory = await self._fetch_directory()
                self._fresh_until = self._clock.monotonic() + _DIRECTORY_SECONDS
            except IssuanceError:
                if known is None:
                    raise
                self._fresh_until = self._clock.monotonic() + _DIRECTORY_RETRY_SECONDS
            return self._directory or {}

    async def ask_time(self) -> None:
        """Have `dated` told what time the CA says it is. Raises IssuanceError."""
        await self._request("GET", self._directory_url, redirects=True)
        if not self._is_dated:
            self._dated(self._name, None)

    async def get(self, url: str) -> AcmeResponse:
        """Send an unsigned request: renewal information (RFC 9773 §4.1). Raises IssuanceError."""
        return await self._request("GET", self._checked(url))

    async def post(
        self, url: object, payload: Mapping[str, Any] | None, signer: AccountSigner, *, repeatable: bool = False
    ) -> AcmeResponse:
        """Send a signed request; payload None is POST-as-GET (RFC 8555 §6.3). Raises IssuanceError.

        `repeatable`: it may be sent again although it may have arrived.
        """
        await self.directory()
        target = self._checked(url)
        content = b"" if payload is None else json.dumps(payload).encode()
        tries = _NETWORK_TRIES if payload is None or repeatable else 1
        nonce: str | None = None
        for _ in range(_NONCE_TRIES):
            nonce = nonce or self._nonces.take() or await self._new_nonce()
            try:
                return await self._request("POST", target, body=signer.sign(content, nonce=nonce, url=target))
            except BadNonce as refused:
                nonce = refused.nonce  # RFC 8555 §6.5: the retry uses the nonce of the refusal
            except NetworkTrouble:
                tries -= 1
                if not tries:
                    raise
                nonce = None
        raise IssuanceError(FailureKind.CA, f"the CA {self._name} refused {_NONCE_TRIES} nonces in a row (badNonce)")

    async def _fetch_directory(self) -> Mapping[str, Any]:
        url = self._directory_url
        for _ in range(_MAX_REDIRECTS + 1):
            if (here := origin(url)) is None:
                break
            response = await self._request("GET", url, redirects=True)
            if response.status not in _REDIRECTS:
                self._check_directory(url, response.json, here)
                self._origin = here
                return response.json
            url = response.location or ""
        raise IssuanceError(
            FailureKind.CA,
            f"{self._directory_url} redirects without end, or to what is no https URL: check acme.server",
        )

    def _check_directory(self, url: str, document: Mapping[str, Any], here: Origin) -> None:
        for key in ("newNonce", "newAccount", "newOrder"):
            if not isinstance(document.get(key), str):
                message = f"{url} is not an ACME directory (no {key} in it): check acme.server"
                raise IssuanceError(FailureKind.CA, message)
            self._checked(document[key], here)

    def _checked(self, url: object, here: Origin | None = None) -> str:
        """Return a URL that may be asked. Raises IssuanceError."""
        found = origin(url)
        if isinstance(url, str) and found is not None and found == (here or self._origin):
            return url
        shown = ascii(url if isinstance(url, str) else type(url).__name__)[:200]
        if found is None:
            raise IssuanceError(FailureKind.CA, f"the CA {self._name} sent {shown} where an https URL belongs")
        raise IssuanceError(
            FailureKind.CA,
            f"the CA {self._name} sent {shown}, which is on another host: it is not asked; acme.server must name the "
            "host that the CA uses in its own URLs",
        )

    async def _new_nonce(self) -> str:
        url = self._checked((await self.directory())["newNonce"])
        for _ in range(_NETWORK_TRIES):
            await self._request("HEAD", url)
            if nonce := self._nonces.take():
                return nonce
        raise IssuanceError(FailureKind.CA, f"the CA {self._name} gives no nonces (no Replay-Nonce from {url})")

    async def _request(
        self, method: str, url: str, *, body: bytes | None = None, redirects: bool = False
    ) -> AcmeResponse:
        for attempt in range(1, _NETWORK_TRIES + 1):
            await self._turn()
            try:
                async with self._room:
                    return await self._request_once(method, url, body, redirects=redirects)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                # A POST that may have arrived must not be sent twice: the schedule tries again.
                connected = not isinstance(error, aiohttp.ClientConnectorError)
                tls_trouble = isinstance(error, aiohttp.ClientConnectorCertificateError)
                if tls_trouble and attempt == 1 and (again := await asyncio.to_thread(self._tls_again)):
                    self._tls = again
                    continue
                if attempt == _NETWORK_TRIES or tls_trouble or (method == "POST" and connected):
                    message = network_message(self._name, error, seconds=self._seconds)
                    raise NetworkTrouble(FailureKind.CA, message) from error
                await asyncio.sleep(self._rng.uniform(0, 0.5 * 2**attempt))
        raise AssertionError("unreachable")

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # `_room` bounds them, and no time runs while one waits for it
                    keepalive_timeout=_KEEPALIVE_SECONDS,
                    enable_cleanup_closed=NEEDS_CLEANUP_CLOSED,  # a CA that hangs does not say goodbye either
                ),
                timeout=aiohttp.ClientTimeout(total=self._seconds, connect=min(15.0, self._seconds)),
                headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
                auto_decompress=False,  # a small body could unfold without end
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _request_once(self, method: str, url: str, body: bytes | None, *, redirects: bool) -> AcmeResponse:
        headers = {"Content-Type": "application/jose+json"} if body is not None else {}
        place = urlsplit(url).netloc
        if place not in self._proxies:
            self._proxies[place] = _proxy(url)
        request = self._connections().request(
            method, url, data=body, headers=headers, allow_redirects=False, ssl=self._tls, **self._proxies[place]
        )
        async with request as response:
            content = await response.content.read(_MAX_BODY + 1)
            while len(content) <= _MAX_BODY and (more := await response.content.read(_MAX_BODY)):
                content += more
            got, status = response.headers, response.status
        nonce, location = got.get("Replay-Nonce"), got.get("Location")
        retry_after = parse_retry_after(got.get("Retry-After"), self._clock.now())
        self._check_clock(got.get("Date"))
        if len(content) > _MAX_BODY:
            raise IssuanceError(FailureKind.CA, f"the CA {self._name} answered {url} with over {_MAX_BODY} bytes")
        document = _json(content)
        _log.debug("CA answered", extra={"method": method, "url": url, "status": status})
        if 200 <= status < 300 or (redirects and status in _REDIRECTS):
            self._nonces.put(nonce)
            return AcmeResponse(
                url=url,
                status=status,
                location=_joined(url, location),
                body=content,
                json=document,
                retry_after=retry_after,
                alternates=_links(response, "alternate"),
            )
        terms = next(iter(_links(response, "terms-of-service")), None)
        problem = Problem.parse(document, status=status, retry_after=retry_after, terms=terms)
        if problem.kind == "badNonce":
            _log.debug("the CA refused a nonce", extra={"url": url})
            raise BadNonce(usable(nonce))
        self._nonces.put(nonce)
        if status == 404 and method != "GET":  # the CA may have moved; so it answers for a certificate of another, too
            self._fresh_until = 0.0
        raise AcmeProblem(classify(problem), f"the CA {self._name} refused {urlsplit(url).path}", problem)

    def _check_clock(self, date: str | None) -> None:
        try:
            said = parsedate_to_datetime(date or "")
            self._clock.now() - said
        except (ValueError, TypeError, IndexError, OverflowError):
            self._is_dated = False
            return
        self._is_dated = True
        self._dated(self._name, said)  # which may correct our time
        skew = self._clock.now() - said
        if abs(skew) > TOLERANCE:
            raise IssuanceError(
                FailureKind.LOCAL,
                f"the clock of this machine is {abs(skew)} {'ahead of' if skew > timedelta(0) else 'behind'} "
                f"the CA's ({self._name}): set it (timedatectl set-ntp true)",
            )


def _proxy(url: str) -> Mapping[str, Any]:
    """Return the proxy that the environment names for `url`, as arguments of a request.

    aiohttp's `trust_env` does this anew for each request, in two threads, and looks for passwords in ~/.netrc.
    """
    try:
        proxy, password = get_env_proxy_for_url(URL(url))
    except LookupError:
        return {}
    return {"proxy": proxy, "proxy_headers": {"Proxy-Authorization": password.encode()} if password else None}


def _joined(url: str, location: str | None) -> str | None:
    try:
        return None if location is None else urljoin(url, location)
    except ValueError:
        return None


def _links(response: aiohttp.ClientResponse, relation: str) -> tuple[str, ...]:
    try:
        links = response.links.getall(relation, [])
    except ValueError:
        return ()
    return tuple(str(link["url"]) for link in links)[:_MAX_LINKS]


def _json(content: bytes) -> Mapping[str, Any]:
    try:
        decoded = json.loads(content) if content[:1] == b"{" else {}
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
