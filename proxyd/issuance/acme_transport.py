"""Signed requests to one ACME CA over aiohttp (RFC 8555 §6): nonces, retries, problem documents kept whole."""

import asyncio
import json
import logging
import os
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import josepy
from acme import jws
from cryptography.hazmat.primitives.asymmetric import ec

from proxyd.certs.key import PrivateKey
from proxyd.core.clock import Clock
from proxyd.core.failure import FailureKind, IssuanceError, classify
from proxyd.core.problem import Problem
from proxyd.core.retry_after import parse_retry_after
from proxyd.issuance.nonce_pool import NoncePool
from proxyd.version import RELEASED, __version__

_log = logging.getLogger("proxyd.acme")
_USER_AGENT = f"proxyd/{__version__} aiohttp/{aiohttp.__version__}"
_TIMEOUT = aiohttp.ClientTimeout(total=45, connect=15)
_MAX_BODY = 1 << 20
#: Half of all nonces may be refused (Pebble does that on purpose): 0.5^20 is one in a million.
_NONCE_TRIES = 20
_NETWORK_TRIES = 3
_MAX_ALTERNATES = 10
_CLOCK_TOLERANCE = timedelta(hours=1)


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


@dataclass(frozen=True, slots=True)
class AccountSigner:
    """Who signs: the account key, with the account's URL once it is known."""

    key: PrivateKey
    url: str | None = None

    @property
    def jwk(self) -> josepy.JWK:
        """Return the public and private key as JSON Web Key."""
        is_ec = isinstance(self.key, ec.EllipticCurvePrivateKey)
        return josepy.JWKEC(key=self.key) if is_ec else josepy.JWKRSA(key=self.key)

    @property
    def thumbprint(self) -> str:
        """Return the part of a key authorization after the dot (RFC 8555 §8.1)."""
        return josepy.b64encode(self.jwk.thumbprint()).decode()

    def sign(self, payload: bytes, *, nonce: str | None, url: str) -> bytes:
        """Return the flattened JWS (RFC 8555 §6.2); `nonce` is None for an inner one only (§7.3.5)."""
        alg = josepy.RS256
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            alg = josepy.ES384 if self.key.curve.key_size == 384 else josepy.ES256
        try:
            decoded = None if nonce is None else josepy.decode_b64jose(nonce)
        except josepy.DeserializationError:
            raise IssuanceError(FailureKind.CA, "the CA sent a nonce that is not base64url") from None
        signed = jws.JWS.sign(payload, key=self.jwk, alg=alg, nonce=decoded, url=url, kid=self.url)
        return signed.json_dumps().encode()


class AcmeTransport:
    """One CA. Every failure is an IssuanceError with its class; retries only what was certainly not done."""

    def __init__(self, *, directory_url: str, tls: ssl.SSLContext, clock: Clock, rng: random.Random) -> None:
        self._directory_url = directory_url
        self._name = urlsplit(directory_url).netloc
        self._tls = tls
        self._clock = clock
        self._rng = rng
        self._nonces = NoncePool(clock=clock)
        self._session: aiohttp.ClientSession | None = None
        self._directory: Mapping[str, Any] | None = None

    async def close(self) -> None:
        """Close the connections to the CA."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def directory(self) -> Mapping[str, Any]:
        """Return the CA's directory (RFC 8555 §7.1.1), fetched once. Raises IssuanceError."""
        if self._directory is None:
            if self._clock.now() < RELEASED:
                raise IssuanceError(
                    FailureKind.LOCAL,
                    f"the clock of this machine says {self._clock.now():%Y-%m-%d}, before this program was made: "
                    "set it (timedatectl set-ntp true); no CA is asked until then",
                )
            response = await self._request("GET", self._directory_url)
            for key in ("newNonce", "newAccount", "newOrder"):
                if not isinstance(response.json.get(key), str):
                    raise IssuanceError(
                        FailureKind.CA,
                        f"{self._directory_url} is not an ACME directory (no {key} in it): check acme.server",
                    )
            self._directory = response.json
        return self._directory

    async def get(self, url: str) -> AcmeResponse:
        """Send an unsigned request: renewal information (RFC 9773 §4.1). Raises IssuanceError."""
        return await self._request("GET", url)

    async def post(self, url: object, payload: Mapping[str, Any] | None, signer: AccountSigner) -> AcmeResponse:
        """Send a signed request; payload None is POST-as-GET (RFC 8555 §6.3). Raises IssuanceError."""
        if not isinstance(url, str) or not _is_https(url):
            raise IssuanceError(
                FailureKind.CA, f"the CA {self._name} sent {str(url)[:200]!r} where an https URL belongs"
            )
        content = b"" if payload is None else json.dumps(payload).encode()
        nonce = self._nonces.take()
        for _ in range(_NONCE_TRIES):
            nonce = nonce or await self._new_nonce()
            try:
                return await self._request("POST", url, body=signer.sign(content, nonce=nonce, url=url))
            except BadNonce as refused:
                # RFC 8555 §6.5: the retry uses the nonce of the refusal.
                nonce = refused.nonce
        raise IssuanceError(FailureKind.CA, f"the CA {self._name} refused {_NONCE_TRIES} nonces in a row (badNonce)")

    async def _new_nonce(self) -> str:
        url = (await self.directory())["newNonce"]
        for _ in range(_NETWORK_TRIES):
            await self._request("HEAD", url)
            if nonce := self._nonces.take():
                return nonce
        raise IssuanceError(FailureKind.CA, f"the CA {self._name} gives no nonces (no Replay-Nonce from {url})")

    async def _request(self, method: str, url: str, *, body: bytes | None = None) -> AcmeResponse:
        for attempt in range(1, _NETWORK_TRIES + 1):
            try:
                return await self._request_once(method, url, body)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                # A POST that may have arrived must not be sent twice: the schedule tries again.
                connected = not isinstance(error, aiohttp.ClientConnectorError)
                tls_trouble = isinstance(error, aiohttp.ClientConnectorCertificateError)
                if attempt == _NETWORK_TRIES or tls_trouble or (method == "POST" and connected):
                    raise IssuanceError(FailureKind.CA, self._network_message(error)) from error
                await asyncio.sleep(self._rng.uniform(0, 0.5 * 2**attempt))
        raise AssertionError("unreachable")

    async def _request_once(self, method: str, url: str, body: bytes | None) -> AcmeResponse:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=8)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=_TIMEOUT, trust_env=True, headers={"User-Agent": _USER_AGENT}
            )
        headers = {"Content-Type": "application/jose+json"} if body is not None else {}
        async with self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            content = await response.content.read(_MAX_BODY + 1)
            while len(content) <= _MAX_BODY and (more := await response.content.read(_MAX_BODY)):
                content += more
            nonce = response.headers.get("Replay-Nonce")
            retry_after = parse_retry_after(response.headers.get("Retry-After"), self._clock.now())
            self._check_clock(response.headers.get("Date"))
            status, location = response.status, response.headers.get("Location")
            links = response.links.getall("alternate", [])
            alternates = tuple(str(link["url"]) for link in links)[:_MAX_ALTERNATES]
        if len(content) > _MAX_BODY:
            raise IssuanceError(FailureKind.CA, f"the CA {self._name} answered {url} with over {_MAX_BODY} bytes")
        document = _json(content)
        _log.debug("CA answered", extra={"method": method, "url": url, "status": status})
        if 200 <= status < 300:
            self._nonces.put(nonce)
            return AcmeResponse(
                url=url,
                status=status,
                location=location,
                body=content,
                json=document,
                retry_after=retry_after,
                alternates=alternates,
            )
        problem = Problem.parse(document, status=status, retry_after=retry_after)
        if problem.kind == "badNonce":
            _log.debug("the CA refused a nonce", extra={"url": url})
            raise BadNonce(nonce)
        self._nonces.put(nonce)
        raise AcmeProblem(classify(problem), f"the CA {self._name} refused {urlsplit(url).path}: {problem}", problem)

    def _check_clock(self, date: str | None) -> None:
        try:
            skew = self._clock.now() - parsedate_to_datetime(date or "")
        except (ValueError, TypeError, IndexError):
            return
        if abs(skew) > _CLOCK_TOLERANCE:
            raise IssuanceError(
                FailureKind.LOCAL,
                f"the clock of this machine is {abs(skew)} {'ahead of' if skew > timedelta(0) else 'behind'} "
                f"the CA's ({self._name}): set it (timedatectl set-ntp true)",
            )

    def _network_message(self, error: BaseException) -> str:
        who = f"the CA {self._name}"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            if "expired" in reason or "not yet valid" in reason:
                return (
                    f"{who} shows a certificate that is not valid at {self._clock.now():%Y-%m-%d %H:%M} UTC "
                    f"({reason}): check the clock of this machine (timedatectl)"
                )
            return f"{who} is not trusted ({reason}): for a private CA set acme.ca_bundle to its root certificate (PEM)"
        if isinstance(error, TimeoutError):
            return f"{who} did not answer within {_TIMEOUT.total:.0f} s: check the network and firewall of this machine"
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno or 0  # asyncio's own text shows only the address
            reason = os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
            return f"{who} cannot be reached ({reason}): check network, DNS and acme.server"
        return f"{who} broke off ({type(error).__name__}: {str(error)[:200]})"


class BadNonce(Exception):
    """The CA refused the nonce; `nonce` is the one to use instead."""

    def __init__(self, nonce: str | None) -> None:
        super().__init__("badNonce")
        self.nonce = nonce


class AcmeProblem(IssuanceError):
    """The CA answered with a problem document."""

    def __init__(self, kind: FailureKind, message: str, problem: Problem) -> None:
        super().__init__(kind, message, problem=problem)
        self.problem = problem


def _is_https(url: str) -> bool:
    try:
        return urlsplit(url).scheme == "https"
    except ValueError:
        return False


def _json(content: bytes) -> Mapping[str, Any]:
    try:
        decoded = json.loads(content) if content[:1] == b"{" else {}
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
