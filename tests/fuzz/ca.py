"""What must hold for any answers of a CA: an order ends soon, with a certificate or with a classified error."""

import asyncio
import random
import selectors
import shutil
import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.issuance.acme_account import AcmeAccount
from proxyd.issuance.acme_issuer import AcmeIssuer
from proxyd.issuance.acme_transport import AcmeTransport
from proxyd.issuance.authorizer import Authorizer
from proxyd.issuance.challenge_board import ChallengeBoard
from proxyd.issuance.challenge_solver import Http01Solver
from proxyd.store.account_keys import AccountKeys
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from proxyd.store.pending_orders import PendingOrders
from tests.support.clock import FakeClock

_HOST = Hostname("a.example")
_CA = "https://ca.example"
_ORDER_SECONDS = 600.0
_MOST_REQUESTS = 3000
_SEPARATOR = b"\0"


class _Hurried(selectors.DefaultSelector):
    """Waits for nothing: the time that would have gone by is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self.waited += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    """Has a time of its own, and does at once what is meant for a thread."""

    def __init__(self) -> None:
        self._hurried = _Hurried()
        super().__init__(self._hurried)

    def time(self) -> float:
        return self._hurried.waited

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - as a thread's
            future.set_exception(error)
        return future


class _Content:
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self, most: int) -> bytes:
        found, self._body = self._body[:most], self._body[most:]
        return found


class _Answer(aiohttp.ClientResponse):
    """One without a connection."""

    def __init__(self, url: str, status: int, headers: CIMultiDict[str], body: bytes) -> None:
        self._url, self._headers = URL(url), CIMultiDictProxy(headers)
        self._cache: dict[str, Any] = {}
        self.status = status
        self.content = _Content(body)  # type: ignore[assignment]
        self._closed = True

    def __del__(self, *_: object) -> None:
        pass

    async def __aenter__(self) -> "_Answer":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class _Session:
    """Answers each request with the next of `answers`; an empty one: as a CA should."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers
        self.asked = 0

    def request(self, method: str, url: str, **more: object) -> _Answer:
        self.asked += 1
        assert self.asked < _MOST_REQUESTS, "no end"
        assert url.startswith(_CA), url
        path = url.removeprefix(_CA)
        written = self._answers[(self.asked - 1) % len(self._answers)]
        status, headers, good = _GOOD.get(path, _EMPTY)
        known: CIMultiDict[str] = CIMultiDict({"Replay-Nonce": f"nonce-{self.asked:016}", **headers})
        if not written or path in ("/directory", "/nonce"):
            return _Answer(url, status, known, good)
        first, _, rest = written.partition(b"\n")
        lines, _, body = rest.partition(b"\n\n")
        for line in lines.split(b"\n"):
            name, colon, value = line.decode("utf-8", "surrogateescape").partition(":")
            if colon and name.isascii() and name.isprintable() and " " not in name:
                known[name] = value.strip("\r\t ").replace("\r", "")
        code = int(first) if first.isdigit() and len(first) == 3 else status
        return _Answer(url, max(code, 100), known, body or good)

    async def close(self) -> None:
        pass


class _Transport(AcmeTransport):
    """Asks the session of the test."""

    def __init__(self, session: _Session, **more: Any) -> None:
        super().__init__(**more)
        self.in_test = session

    def _connections(self) -> Any:
        return self.in_test


def _document(text: str) -> bytes:
    return text.replace("'", '"').replace("CA/", f"{_CA}/").encode()


_AUTHORIZATION = _document(
    "{'identifier': {'type': 'dns', 'value': 'a.example'}, 'status': 'pending', 'challenges': [{'type': 'http-01', "
    "'status': 'pending', 'url': 'CA/challenge', 'token': 'abcdefghijklmnopqrstuv'}]}"
)
_ORDER = _document(
    "{'status': 'pending', 'identifiers': [{'type': 'dns', 'value': 'a.example'}], 'authorizations': "
    "['CA/authorization'], 'finalize': 'CA/finalize'}"
)
_GOOD: Mapping[str, tuple[int, dict[str, str], bytes]] = {
    "/directory": (
        200,
        {},
        _document("{'newNonce': 'CA/nonce', 'newAccount': 'CA/account', 'newOrder': 'CA/order', 'revokeCert': 'CA/x'}"),
    ),
    "/account": (201, {"Location": f"{_CA}/account/1"}, _document("{'status': 'valid'}")),
    "/order": (201, {"Location": f"{_CA}/order/1"}, _ORDER),
    "/order/1": (200, {}, _ORDER),
    "/authorization": (200, {}, _AUTHORIZATION),
    "/challenge": (200, {}, b"{}"),
    "/finalize": (200, {}, _ORDER.replace(b'"pending"', b'"valid"', 1)),
}
_EMPTY: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")
#: What a CA may say, each as an answer of its own.
SAMPLES = (
    b"",
    b"200\n\n" + _AUTHORIZATION.replace(b"pending", b"valid"),
    b"200\n\n" + _AUTHORIZATION.replace(b"pending", b"invalid"),
    b"200\nRetry-After: 5\n\n" + _ORDER.replace(b"pending", b"ready"),
    b"200\n\n" + _ORDER.replace(b'"pending"', b'"valid", "certificate": "https://ca.example/certificate"', 1),
    b'200\nLink: <https://ca.example/other>;rel="alternate"\n\n-----BEGIN CERTIFICATE-----\nAA==\n',
    b'403\nRetry-After: Wed, 21 Oct 2027 07:28:00 GMT\n\n{"type": "urn:ietf:params:acme:error:unauthorized", '
    b'"detail": "no", "status": 403, "subproblems": [{"type": "urn:ietf:params:acme:error:caa", "detail": "x", '
    b'"identifier": {"type": "dns", "value": "a.example"}}]}',
    b'429\nRetry-After: 60\n\n{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates '
    b'(5) already issued, retry after 2027-01-02 03:04:05 UTC"}',
    b'400\n\n{"type": "urn:ietf:params:acme:error:badNonce"}',
    b"500\n\n<html>",
    b"301\nLocation: https://elsewhere.example/\n\n",
)


def answers(data: bytes) -> None:
    """Answers are separated by zeros: the status, header lines, an empty line and the body."""
    root = Path(tempfile.mkdtemp(prefix="fuzz", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    loop = _Loop()
    try:
        loop.run_until_complete(_order(root, _Session(data.split(_SEPARATOR)[:40])))
        assert loop.time() < 2 * _ORDER_SECONDS, "it took too long"
    finally:
        loop.close()
        shutil.rmtree(root)


async def _order(root: Path, session: _Session) -> None:
    clock = FakeClock()
    store = CertificateStore(DirectoryStore(root, clock=clock), clock=clock)
    transport = _Transport(
        session,
        directory_url=f"{_CA}/directory",
        tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        clock=clock,
        rng=random.Random(1),
    )
    issuer = AcmeIssuer(
        name="ca",
        transport=transport,
        account=AcmeAccount(issuer="ca", transport=transport, keys=AccountKeys(store, ("ca",), True), email=None),
        authorizer=Authorizer(issuer="ca", transport=transport, solvers=[Http01Solver(ChallengeBoard())]),
        orders=PendingOrders(store.store),
        clock=clock,
        order_seconds=_ORDER_SECONDS,
    )
    try:
        found = await issuer.issue(CertificateOrder(host=_HOST, names=(_HOST,), key_kind="p256"), ["http-01"])
    except IssuanceError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 5000
    else:
        assert found.certificate.names == {_HOST}
    try:
        answer = await issuer.renewal_window("abc.def")
    except IssuanceError as error:
        assert str(error).isprintable()
    else:
        assert answer.window is None or answer.window.start < answer.window.end
