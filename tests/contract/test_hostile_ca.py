"""A CA that is hostile or broken: each answer gives one classified error, in bounded time, memory and requests."""

import asyncio
import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pebble.server import free_port
from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.issuance.acme_error import UnfinishedOrder
from proxyd.issuance.issuer import ReplacesRefused
from tests.support.daemon import eventually
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import PREFIX, Answer, problem
from tests.support.issuance import Client

HOST = "one.example.test"
_CA, _REFUSED, _ACCOUNT = FailureKind.CA, FailureKind.HOST_REFUSED, FailureKind.ACCOUNT_REFUSED
_LIMITED, _VALIDATION = FailureKind.RATE_LIMITED, FailureKind.VALIDATION
_DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@pytest.fixture
def http_port() -> int:
    return free_port()


@pytest.fixture
def ca(tmp_path: Path, http_port: int) -> Iterator[FakeCa]:
    with FakeCa(tmp_path / "ca", http_port=http_port) as one:
        yield one


@pytest.fixture
def client(ca: FakeCa, tmp_path: Path, http_port: int) -> Client:
    return Client(ca, tmp_path / "cache", http_port=http_port, order_seconds=3.0, request_seconds=2.0)


def field(**changes: Any) -> Callable[[Answer], Answer]:
    """Change fields of the JSON that goes out."""

    def change(answer: Answer) -> Answer:
        document = {**answer.json, **changes}
        answer.json = {key: value for key, value in document.items() if value is not ...}
        return answer

    return change


def challenge(**changes: Any) -> Callable[[Answer], Answer]:
    """Change fields of every challenge of an authorization."""

    def change(answer: Answer) -> Answer:
        answer.json = {**answer.json, "challenges": [{**one, **changes} for one in answer.json.get("challenges", [])]}
        return answer

    return change


def always(answer: Answer) -> Callable[[Answer], Answer]:
    return lambda _: answer


def with_header(**headers: str) -> Callable[[Answer], Answer]:
    def change(answer: Answer) -> Answer:
        answer.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
        return answer

    return change


_HTML = Answer(status=200, body=b"<html>It works!</html>", headers={"Content-Type": "text/html"})
_HTML_ERROR = Answer(status=502, body=b"<html>Bad gateway</html>" * 100)
_HUGE = Answer(body=b'{"x": "' + b"a" * (10 << 20))
_OTHER = "https://127.0.0.2:1/x"
_TOKENS: list[Any] = [
    "../../../etc/passwd",
    "",
    "a",
    "a" * 2000,
    "ä" * 20,
    "a/../b" * 5,
    "x\r\nSet-Cookie: a=b" * 2,
    None,
    7,
    {},
]

CASES: list[tuple[str, Callable[[Answer], Answer], FailureKind, str]] = [
    ("directory", always(_HTML), _CA, "not an ACME directory"),
    ("directory", always(_HTML_ERROR), _CA, "HTTP 502"),
    ("directory", always(_HUGE), _CA, "over 1048576 bytes"),
    ("directory", always(Answer(body=_DEEP)), _CA, "not an ACME directory"),
    ("directory", always(Answer(body=b"[]")), _CA, "not an ACME directory"),
    ("directory", always(Answer(body=b'{"newNonce": ' + b"9" * 5000 + b"}")), _CA, "not an ACME directory"),
    ("directory", field(newOrder="http://127.0.0.1/new-order"), _CA, "https URL"),
    ("directory", field(newOrder=_OTHER), _CA, "another host"),
    ("directory", field(newOrder="/new-order"), _CA, "https URL"),
    ("directory", field(newNonce=_OTHER), _CA, "another host"),
    ("directory", field(newAccount="https://user:pass@127.0.0.1/x"), _CA, "https URL"),
    ("directory", with_header(Date="Mon, 01 Jan 2001 00:00:00 GMT"), FailureKind.LOCAL, "clock"),
    ("directory", with_header(Date="Fri, 31 Dec 9999 23:59:59 GMT"), FailureKind.LOCAL, "clock"),
    ("order", always(_HTML), _CA, "an order that is none"),
    ("order", always(_HTML_ERROR), _CA, "HTTP 502"),
    ("order", always(_HUGE), _CA, "over 1048576 bytes"),
    ("order", always(Answer(status=307, headers={"Location": _OTHER})), _CA, "HTTP 307"),
    ("order", field(status="strange\x1b[2J\ud800"), _CA, "status"),
    ("order", field(status=...), _CA, "an order that is none"),
    ("order", field(authorizations=[]), _CA, "0 authorizations"),
    ("order", field(authorizations=...), _CA, "no authorizations"),
    ("order", field(authorizations=[_OTHER]), _CA, "another host"),
    ("order", field(authorizations=[7]), _CA, "https URL"),
    ("order", field(authorizations=[f"https://127.0.0.1:1/{number}" for number in range(101)]), _CA, "101 auth"),
    ("order", always(Answer(status=201, body=b'{"status": "pending", "a": NaN, "a": 1e999}')), _CA, "an order that is"),
    ("order", always(problem("rateLimited", 429, headers={"Retry-After": "120"})), _LIMITED, "rateLimited"),
    ("order", always(problem("malformed", 409)), _CA, "HTTP 409"),
    ("order", always(problem("rejectedIdentifier", 400)), _REFUSED, "rejectedIdentifier"),
    ("order", always(problem("invalidProfile", 400)), _REFUSED, "invalidProfile"),
    ("order", always(problem("userActionRequired", 403)), _ACCOUNT, "terms"),
    (
        "order",
        always(problem("userActionRequired", 403, headers={"Link": '<https://ca.test/t>;rel="terms-of-service"'})),
        _ACCOUNT,
        "terms at https://ca.test/t and",
    ),
    (
        "account",
        always(problem("userActionRequired", 403, instance="https://ca.test/agree")),
        _ACCOUNT,
        "terms at https://ca.test/agree and",
    ),
    ("order", always(problem("unauthorized", 403, "Account is not valid")), _ACCOUNT, "move its key"),
    ("order", always(problem("\x1b]0;x\x07" * 1000, 400, "\r\nforged line" * 10_000)), _CA, "HTTP 400"),
    ("account", always(problem("externalAccountRequired", 401)), _ACCOUNT, "acme.eab"),
    ("account", always(problem("unsupportedContact", 400)), _ACCOUNT, "acme.email"),
    ("account", always(_HTML), _CA, "without a URL"),
    ("authorization", always(_HTML), _CA, "not asked for"),
    ("authorization", field(identifier={"type": "dns", "value": "victim.example"}), _CA, "not asked for"),
    ("authorization", field(identifier={"type": "dns", "value": ["x"] * 9999}), _CA, "not asked for"),
    ("authorization", field(status="frobnicated"), _CA, "does not exist"),
    ("authorization", field(status="revoked"), _VALIDATION, "revoked"),
    ("authorization", field(challenges=[]), _REFUSED, "offers nothing"),
    ("authorization", field(challenges="x"), _REFUSED, "offers nothing"),
    ("authorization", field(challenges=[{"type": "dns-persist-01"}] * 9999), _REFUSED, "dns-persist-01"),
    ("authorization", challenge(url=_OTHER), _CA, "another host"),
    ("authorization", challenge(url="http://127.0.0.1:1/"), _CA, "https URL"),
    *[("authorization", challenge(token=token), _CA, "token") for token in _TOKENS],
    ("finalize", always(problem("badCSR", 400)), _REFUSED, "badCSR"),
    ("finalize", field(status="invalid", error={"type": PREFIX + "caa", "detail": "CAA forbids"}), _VALIDATION, "CAA"),
    ("finalize", field(certificate=_OTHER), _CA, "another host"),
    ("finalize", field(certificate=...), _CA, "https URL"),
    ("certificate", always(_HTML), _CA, "cannot be read"),
    ("certificate", always(Answer(body=b"")), _CA, "cannot be read"),
    ("certificate", always(_HUGE), _CA, "over 1048576 bytes"),
]


@pytest.mark.parametrize(("step", "script", "kind", "text"), CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)])
async def test_one_classified_error_and_nothing_left_behind(
    ca: FakeCa, client: Client, step: str, script: Callable[[Answer], Answer], kind: FailureKind, text: str
) -> None:
    ca.script[step] = script
    async with client:
        error = await client.failure(HOST)
        assert error.failure.kind is kind, error
        assert text in str(error)
        assert error.failure.cause
        assert HOST not in error.failure.cause  # nor what the CA said of it
        assert client.orders.all() == [] or isinstance(error, UnfinishedOrder)
        assert ca.asked.total() < 60
        assert client.board.answer(Hostname(HOST), "x") is None
        ca.script.clear()
        other = await client.issue("two.example.test")  # nothing of it sticks to the next host
        assert other.certificate.names == {Hostname("two.example.test")}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 10**8),
        ({"Retry-After": "9" * 400}, 10**7),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "soon"}, 0),
    ],
)
async def test_retry_after_in_every_form(ca: FakeCa, client: Client, headers: dict[str, str], seconds: int) -> None:
    ca.script["order"] = always(problem("rateLimited", 429, headers=headers))
    async with client:
        failure = (await client.failure(HOST)).failure
    asked = failure.retry_after.total_seconds() if failure.retry_after else 0
    assert asked >= seconds
    assert failure.kind is _LIMITED


async def test_a_time_only_in_the_text_of_a_part_is_understood(ca: FakeCa, client: Client) -> None:
    parts = [{"type": PREFIX + "rateLimited", "detail": "too many, retry after 2037-01-02 03:04:05 UTC: see"}]
    ca.script["order"] = always(problem("malformed", 400, subproblems=parts))
    async with client:
        failure = (await client.failure(HOST)).failure
    assert failure.kind is _LIMITED
    assert failure.retry_at == datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (problem("alreadyReplaced", 409), True),
        (problem("conflict", 409), True),
        (problem("malformed", 409), True),
        (problem("malformed", 400, "unknown field replaces"), True),
        (problem("malformed", 404, "certID not found"), True),
        (problem("malformed", 404, "could not find an order for the given certificate"), True),
        (problem("unauthorized", 403, "requester account did not request the certificate being replaced"), True),
        (problem("malformed", 400, "other"), True),
        (problem("malformed", 500, "replaces"), False),
        (problem("rateLimited", 429), False),
        (problem("externalAccountRequired", 403), False),
        (problem("userActionRequired", 403), False),
    ],
)
async def test_a_refused_replaces_is_told_apart(ca: FakeCa, client: Client, answer: Answer, refused: bool) -> None:
    async with client:
        old = (await client.issue(HOST)).certificate
        ca.script["order"] = always(answer)
        with pytest.raises(Exception, match="refused") as error:
            await client.issue(HOST, replaces=old.ari_id)
        assert isinstance(error.value, ReplacesRefused) is refused
        assert ca.orders() == 2


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (problem("badPublicKey", 400, "key is blocked"), _ACCOUNT, "move its key"),
        (problem("userActionRequired", 403, instance="https://ca.test/agree"), _ACCOUNT, "https://ca.test/agree"),
        (Answer(status=403, body=b"<html>Forbidden</html>"), _CA, "HTTP 403"),
        (problem("rateLimited", 429), _LIMITED, "rateLimited"),
    ],
)
async def test_what_is_said_of_a_known_account_is_not_of_the_host(
    ca: FakeCa, client: Client, answer: Answer, kind: FailureKind, text: str
) -> None:
    async with client:
        await client.issue(HOST)
        client.account.forget()  # as after a restart
        ca.script["account"] = always(answer)
        error = await client.failure(HOST)
    assert (error.failure.kind, text in str(error)) == (kind, True)


@pytest.mark.parametrize("step", ["account", "order", "challenge", "finalize", "certificate"])
async def test_what_others_are_told_has_the_kind_and_not_the_name(ca: FakeCa, client: Client, step: str) -> None:
    detail = f"Error creating new order :: Cannot issue for {HOST.upper()}. ({HOST}): down for maintenance"
    ca.script[step] = always(problem("serverInternal", 503, detail))
    async with client:
        failure = (await client.failure(HOST)).failure
    assert detail in failure.message
    assert "serverInternal (HTTP 503)" in failure.cause
    assert HOST not in failure.cause.lower()


async def test_no_nonces_at_all(ca: FakeCa, client: Client) -> None:
    for step in ("directory", "nonce"):
        ca.script[step] = lambda answer: Answer(status=answer.status, json=answer.json, has_nonce=False)
    async with client:
        error = await client.failure(HOST)
    assert "gives no nonces" in str(error)
    assert ca.asked["nonce"] <= 5


async def test_every_nonce_refused(ca: FakeCa, client: Client) -> None:
    ca.instead["account"] = lambda: problem("badNonce", 400)
    async with client:
        error = await client.failure(HOST)
    assert "nonces in a row" in str(error)
    assert ca.asked["account"] <= 20


async def test_unusable_nonces_are_ignored(ca: FakeCa, client: Client) -> None:
    ca.script["directory"] = with_header(Replay_Nonce="not base64url!")
    ca.script["account"] = with_header(Replay_Nonce="a" * 5000)
    async with client:
        assert (await client.issue(HOST)).challenge == "http-01"


@pytest.mark.parametrize("target", ["directory", "directory?again", "http://127.0.0.1:1/", "https://[::1", "\x00"])
async def test_redirects_without_end(ca: FakeCa, client: Client, target: str) -> None:
    location = target if ":" in target else f"{ca.base}/{target}"
    ca.script["directory"] = always(Answer(status=302, headers={"Location": location.replace("\x00", "%00x")}))
    async with client:
        error = await client.failure(HOST)
    assert error.failure.kind is _CA
    assert ca.asked["directory"] <= 6


async def test_a_directory_may_have_moved(ca: FakeCa, client: Client) -> None:
    moved: list[bool] = []

    def once(answer: Answer) -> Answer:
        if moved:
            return answer
        moved.append(True)
        return Answer(status=301, headers={"Location": "/directory"})

    ca.script["directory"] = once
    async with client:
        assert (await client.issue(HOST)).challenge == "http-01"


async def test_slow_answers_and_cut_bodies_are_bounded(ca: FakeCa, client: Client) -> None:
    async with client:
        ca.script["order"] = always(Answer(delay=4))
        assert "did not answer within 2 s" in str(await client.failure(HOST))
        ca.script["order"] = always(Answer(status=201, body=b'{"status"', cut=True))
        assert "broke off" in str(await client.failure(HOST))
        assert ca.asked["order"] == 2  # a POST that may have arrived is not sent again
        ca.script.clear()
        cuts = iter([True, True, False])
        ca.script["certificate"] = lambda answer: Answer(body=b"x", cut=True) if next(cuts) else answer
        assert (await client.issue(HOST)).challenge == "http-01"  # to read again costs nothing


async def test_an_order_that_never_ends_is_kept_and_gone_on_with(ca: FakeCa, client: Client) -> None:
    ca.script["finalize"] = lambda answer: Answer(
        json={**answer.json, "status": "processing", "certificate": None}, headers={"Retry-After": "1"}
    )
    ca.script["poll"] = lambda answer: Answer(json={**answer.json, "status": "processing"})
    async with client:
        error = await client.failure(HOST)
        assert isinstance(error, UnfinishedOrder)
        assert "did not finish the order within 3 s" in str(error)
        (pending,) = client.orders.all()
        placed = ca.orders()
        ca.script.clear()
        issuance = await client.issuer.resume(_order(pending), pending, ("http-01",))
        assert issuance is not None
        assert pending.gave(issuance.certificate)
        assert ca.orders() == placed


async def test_an_authorization_that_never_ends_is_given_up_at_the_ca(ca: FakeCa, client: Client) -> None:
    ca.instead["challenge"] = lambda: Answer(json={"status": "processing"})
    async with client:
        error = await client.failure(HOST)
        assert error.failure.kind is _CA
        assert len(ca.deactivated) == 1
        assert client.orders.all() == []


async def test_a_failed_challenge_that_stays_pending_is_a_failure(ca: FakeCa, client: Client) -> None:
    """As step-ca does it."""
    ca.instead["challenge"] = lambda: Answer(json={"status": "pending"})
    ca.script["authorization"] = challenge(error={"type": PREFIX + "connection", "detail": "no route"})
    async with client:
        failure = (await client.failure(HOST)).failure
    assert failure.kind is _VALIDATION
    assert "no route" in failure.message
    assert len(ca.deactivated) == 1


async def test_a_stop_in_the_middle_leaves_nothing_pending(ca: FakeCa, client: Client) -> None:
    ca.instead["challenge"] = lambda: Answer(json={"status": "processing"})
    async with client, asyncio.TaskGroup() as group:
        task = group.create_task(client.issue(HOST, "two.example.test"))
        await asyncio.to_thread(eventually, lambda: ca.asked["challenge"] >= 2)
        task.cancel()
        await asyncio.wait([task])
        assert len(ca.deactivated) == 2
        assert client.orders.all() == []


async def test_a_broken_connection_keeps_the_order_and_its_authorizations(ca: FakeCa, client: Client) -> None:
    ca.script["authorization"] = always(problem("serverInternal", 500))
    async with client:
        assert isinstance(await client.failure(HOST), UnfinishedOrder)
        assert ca.deactivated == []
        (pending,) = client.orders.all()
        ca.script.clear()
        assert await client.issuer.resume(_order(pending), pending, ("http-01",))


@pytest.mark.parametrize("cut", ["order", "authorization", "challenge", "finalize", "poll", "certificate"])
async def test_one_answer_lost_at_each_step_costs_at_most_one_more_try(ca: FakeCa, client: Client, cut: str) -> None:
    lost = iter([True])
    ca.script[cut] = lambda answer: Answer(body=b"{", cut=True) if next(lost, False) else answer
    async with client:
        try:
            await client.issue(HOST)
        except UnfinishedOrder:
            (pending,) = client.orders.all()
            assert await client.issuer.resume(_order(pending), pending, ("http-01",))
        except IssuanceError:
            assert cut == "order"  # not known whether it arrived: the schedule places another
            await client.issue(HOST)


async def test_the_account_vanishes_in_the_middle(ca: FakeCa, client: Client) -> None:
    async with client:
        await client.issue(HOST)
        first = client.account.url
        ca.script["authorization"] = always(problem("accountDoesNotExist", 400))
        assert (await client.failure(HOST)).failure.kind is _CA
        ca.script.clear()
        ca.forget_accounts()
        accounts = ca.asked["account"]
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(client.issue(f"host{number}.example.test"))
        assert client.account.url != first
        assert ca.asked["account"] - accounts <= 3  # looked for, then made, once for all


async def test_a_refused_account_is_asked_for_once_for_all_who_wait(ca: FakeCa, client: Client) -> None:
    ca.script["account"] = always(problem("externalAccountRequired", 401))
    async with client, asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(client.failure(f"host{number}.example.test"))
    assert ca.asked["account"] <= 2


async def test_bodies_do_not_cost_memory(ca: FakeCa, client: Client) -> None:
    ca.script["authorization"] = always(Answer(body=b"[" * (30 << 20)))
    async with client:
        await client.account.signer()
        tracemalloc.start()
        try:
            await client.failure(HOST)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 200 << 20  # the fake CA lives in this process too


async def test_a_compressed_body_is_not_unfolded(ca: FakeCa, client: Client) -> None:
    import zlib

    bomb = zlib.compress(json.dumps({"x": "a" * (1 << 20)}).encode())
    ca.script["directory"] = always(Answer(body=bomb, headers={"Content-Encoding": "deflate"}))
    async with client:
        assert "not an ACME directory" in str(await client.failure(HOST))


async def test_what_is_told_of_the_validation_is_kept(ca: FakeCa, client: Client) -> None:
    async with client:
        failure = (await client.failure(HOST, challenges=("tls-alpn-01",))).failure
    assert failure.addresses[0].startswith("127.0.0.1:")


def _order(pending: Any) -> Any:
    from proxyd.core.certificate_order import CertificateOrder

    lineage = pending.lineage
    return CertificateOrder(host=lineage.host, names=lineage.names, key_kind=lineage.key_kind)
