"""The words for the typical situations, whole: what a person reads is the promise."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxyd.core.alarm import Alarm
from proxyd.core.certificate_state import Blocked, CertificateState, Dormant, Missing, Ordering, Ready, Waiting
from proxyd.core.clock_watch import Doubt
from proxyd.core.explanation import explain
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.renewal import RenewalWindow, Validity
from proxyd.core.status import Facts

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
HOST = Hostname("a.example.com")
GOLDEN = Path(__file__).parent / "explanations"
PLAN = Plan(
    lineage=Lineage(host=HOST, names=(HOST,), key_kind="p256"),
    issuers=("letsencrypt",),
    challenges=("tls-alpn-01", "http-01"),
)
HELD = Held(
    validity=Validity(not_before=NOW - timedelta(days=10), not_after=NOW + timedelta(days=80)),
    serial=0xABC,
    cert_id="x",
    issuer="letsencrypt",
    is_owned=True,
    signed_by="Let's Encrypt",
)


def event(minutes: float, kind: str, /, **fields: object) -> JournalEvent:
    at = NOW - timedelta(minutes=minutes)
    return JournalEvent(at=at, host=HOST, kind=kind, issuer="letsencrypt", fields=fields)


def waiting(kind: FailureKind, message: str, *, failures: int = 1, **more: str | bool) -> Waiting:
    failure = Failure(kind=kind, message=f"{HOST}: {message}", **more)  # type: ignore[arg-type]
    return Waiting(retry_at=NOW + timedelta(minutes=9), failures=failures, failure=failure)


def blocked(kind: FailureKind, message: str) -> Blocked:
    failure = Failure(kind=kind, message=f"{HOST}: {message}")
    return Blocked(probe_at=NOW + timedelta(hours=20), failures=1, failure=failure)


def started(minutes: float) -> JournalEvent:
    return event(minutes, "order started", challenges=["http-01", "tls-alpn-01"])


def failed(minutes: float, **fields: object) -> JournalEvent:
    return event(minutes, "order failed", kind="validation", reason="it said no", **fields)


V = FailureKind.VALIDATION
UNPAUSE = "https://portal.letsencrypt.org/sfe/v1/unpause?jwt=abc"
SITUATIONS: dict[str, tuple[CertificateState, Held | None, list[JournalEvent]]] = {
    "never tried": (Missing(), None, []),
    "ordering": (Ordering(failures=0), HELD, [started(0)]),
    "no address": (
        waiting(V, "dns: no valid A records found", problem="dns", challenge="http-01"),
        None,
        [
            event(3, "preflight", addresses=[], caa=[], port80={}, findings=["the DNS has no address"], delayed=True),
            started(2),
            failed(1, problem="dns", challenge="http-01"),
        ],
    ),
    "no address by another word": (
        waiting(V, 'malformed: Could not resolve URL "a.example.com"', problem="malformed", challenge="http-01"),
        None,
        [
            started(2),
            failed(1, problem="malformed", challenge="http-01"),
            event(1, "dns seen", addresses={"a.example.com": []}, caa={}, port80={}),
        ],
    ),
    "not confirmed by an unknown word": (
        waiting(V, "malformed: something", problem="malformed", challenge="http-01"),
        None,
        [
            started(2),
            failed(1, problem="malformed", challenge="http-01"),
            event(1, "dns seen", addresses={"a.example.com": ["192.0.2.7"]}, caa={}, port80={}),
        ],
    ),
    "caa": (
        waiting(V, "caa: CAA record for a.example.com prevents issuance", problem="caa", challenge="http-01"),
        HELD,
        [event(1, "dns seen", addresses={"a.example.com": ["192.0.2.7"]}, caa={"a.example.com": ['0 issue "x.test"']})],
    ),
    "port closed": (
        waiting(
            V,
            "connection: 2.5.1.7: Fetching http://a.example.com/x: Connection refused",
            problem="connection",
            challenge="http-01",
        ),
        None,
        [started(2), failed(1, problem="connection", challenge="http-01")],
    ),
    "points elsewhere": (
        waiting(
            V,
            "unauthorized: 2.5.1.7: Invalid response from http://a.example.com/x: 404",
            problem="unauthorized",
            challenge="http-01",
        ),
        None,
        [
            event(9, "challenge request", client="192.0.2.1", by="http-01", token="old", agent="before this order"),
            started(2),
            event(1.5, "challenge request", client="192.0.2.1", by="tls-alpn-01", token="tokentokentoken"),
            failed(1, problem="unauthorized", challenge="http-01", addresses=["2.5.1.7:80"]),
        ],
    ),
    "arrived and yet refused": (
        waiting(V, "unauthorized: During secondary validation: 404", problem="unauthorized", challenge="http-01"),
        None,
        [
            started(2),
            event(1.5, "challenge request", client="192.0.2.1", by="http-01", token="tokentokentoken", agent="LE"),
            failed(1, problem="unauthorized", challenge="http-01"),
        ],
    ),
    "limited by the CA": (
        waiting(FailureKind.RATE_LIMITED, "rateLimited: too many, retry after …", failures=0, problem="rateLimited"),
        HELD,
        [],
    ),
    "limited by our ledger": (
        waiting(FailureKind.RATE_LIMITED, "not asked of letsencrypt: the CA allows no more for now (…)", failures=0),
        HELD,
        [event(1, "postponed", kind="rate limited", reason="not asked of letsencrypt")],
    ),
    "limited by our ceiling": (
        waiting(
            FailureKind.RATE_LIMITED,
            "enough certificates were ordered lately (proxyd renew --force a.example.com goes past this)",
            failures=0,
        ),
        HELD,
        [event(1, "renewal wished", uid=0, by="renew")],
    ),
    "paused": (
        blocked(FailureKind.PAUSED, f"rateLimited: paused; unpause it at {UNPAUSE}; then renew"),
        HELD,
        [],
    ),
    "account refused": (
        blocked(FailureKind.ACCOUNT_REFUSED, "externalAccountRequired; set acme.eab"),
        None,
        [],
    ),
    "new terms": (
        blocked(
            FailureKind.ACCOUNT_REFUSED,
            "userActionRequired (HTTP 403): no; read and accept the CA's new terms at https://ca.example/agree?id=7 "
            "and then `proxyd renew`",
        ),
        HELD,
        [event(1, "order failed", kind="account refused", reason="long " * 100)],
    ),
    "CA down": (waiting(FailureKind.CA, "the CA letsencrypt cannot be reached"), HELD, []),
    "profile unknown": (
        blocked(FailureKind.HOST_REFUSED, "the CA letsencrypt has no profile 'x': set acme.profile to classic"),
        None,
        [],
    ),
    "dormant": (
        Dormant(
            since=NOW - timedelta(days=3),
            probe_at=NOW + timedelta(days=4),
            failures=12,
            failure=Failure(kind=V, message=f"{HOST}: dns: nothing", problem="dns"),
        ),
        None,
        [event(9, "dormant", addresses={"a.example.com": ["198.51.100.1"]})],
    ),
    "ready": (
        Ready(
            renew_at=NOW + timedelta(days=50),
            window=RenewalWindow(
                cert_id="x",
                start=NOW + timedelta(days=49),
                end=NOW + timedelta(days=51),
                explanation_url="https://ca.example/why",
            ),
        ),
        HELD,
        [
            started(3),
            event(2, "certificate issued", serial="abc", challenge="http-01", not_after="2027-03-22T12:00:00+00:00"),
            event(1, "confirmed", serial="abc"),
            event(0, "something of a later version", what="x"),
        ],
    ),
    "two daemons": (
        waiting(
            FailureKind.LOCAL,
            "another proxyd (pid 7 on web2) orders certificates for this cache: this one serves what it obtains, and "
            "takes over when it ends",
            failures=0,
            is_anothers_turn=True,
        ),
        HELD,
        [],
    ),
    "taken back": (
        waiting(
            FailureKind.UNUSABLE,
            "the new certificate was taken back: our own listener 127.0.0.1:443 shows another certificate: look "
            "whether another program listens there too",
        ),
        HELD,
        [
            started(2),
            event(1, "not confirmed", reason="our own listener 127.0.0.1:443 shows another certificate"),
            event(1, "taken back", reason="our own listener 127.0.0.1:443 shows another certificate"),
        ],
    ),
    "disk full": (
        waiting(FailureKind.LOCAL, "no certificate is ordered, because it could not be kept: No space left on device"),
        HELD,
        [event(1, "not kept", reason="No space left on device")],
    ),
}


def told(name: str, *, runs: bool = True) -> str:
    state, held, events = SITUATIONS[name]
    facts = [Facts(plan=PLAN, state=state, held=held)]
    sections = explain(HOST, facts, events, NOW, profiles={"letsencrypt": "tlsserver"}, runs=runs)
    return "".join(f"{one.title}\n" + "".join(f"  {line}\n" for line in one.lines) for one in sections)


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_words(name: str) -> None:
    assert told(name) == (GOLDEN / f"{name.replace(' ', '-')}.txt").read_text()


def test_without_a_daemon_nothing_is_promised() -> None:
    text = told("CA down", runs=False)
    assert "Once a daemon runs: " in text
    assert "Start the daemon" in text


@pytest.mark.parametrize("holds", [True, False])
def test_a_wrong_clock_is_told_of_every_host(holds: bool) -> None:
    facts = [Facts(plan=PLAN, state=Ready(renew_at=NOW + timedelta(days=1)), held=HELD)]
    doubt = Doubt(reason="the clock of this machine says 2036-01-01", holds=holds)
    sections = explain(HOST, facts, [], NOW, profiles={}, doubt=doubt)
    told = {one.title: " ".join(one.lines) for one in sections}
    assert "the clock of this machine says 2036-01-01" in told["Why"]
    assert "timedatectl" in told["What to do"]
    assert ("Nothing is ordered" in told["What comes next"]) is holds


def test_alarms_of_a_ready_host_are_told_with_what_ends_them() -> None:
    alarms = (Alarm(reason="the certificate is not confirmed", to_do="Look."),)
    facts = [Facts(plan=PLAN, state=Ready(renew_at=NOW + timedelta(days=1)), held=HELD, alarms=alarms)]
    cache = Alarm(reason="the cache is not writable", to_do="Repair the disk.")
    sections = {one.title: one.lines for one in explain(HOST, facts, [], NOW, profiles={}, cache=cache)}
    assert sections["Why"] == ("The cache is not writable.", "The certificate is not confirmed.")
    assert sections["What to do"] == ("Repair the disk.", "Look.")


def test_two_kinds_of_keys_are_told_apart() -> None:
    rsa = Plan(lineage=Lineage(host=HOST, names=(HOST,), key_kind="rsa2048"), issuers=("x",), challenges=("http-01",))
    facts = [
        Facts(plan=PLAN, state=Ready(renew_at=NOW + timedelta(days=1)), held=HELD),
        Facts(plan=rsa, state=Missing(), held=None, damage="half a file"),
    ]
    sections = explain(HOST, facts, [], NOW, profiles={})
    assert [len(one.lines) for one in sections[:2]] == [2, 2]
    assert "(half a file)" in sections[1].lines[1]


@pytest.mark.parametrize("asked", ["a.example.com", "b.example.com"])
def test_of_a_shared_certificate_the_name_is_blamed_that_was_not_proved(asked: str) -> None:
    """Also after a restart; what arrived for the other names proves nothing about this one."""
    other = Hostname("b.example.com")
    message = f"{other}: unauthorized: Invalid response: 404"
    failure = Failure(kind=V, message=message, problem="unauthorized", challenge="http-01", name=other)
    kept = Failure.read(failure.to_document())
    assert kept is not None
    events = [
        started(2),
        event(1.5, "challenge request", client="192.0.2.1", by="http-01", token="tokentokentoken"),
        failed(1, problem="unauthorized", challenge="http-01", addresses=["2.5.1.7:80"]),
    ]
    state = Waiting(retry_at=NOW + timedelta(minutes=9), failures=1, failure=kept)
    facts = [Facts(plan=replace(PLAN, lineage=replace(PLAN.lineage, names=(HOST, other))), state=state, held=None)]
    told = {one.title: " ".join(one.lines) for one in explain(Hostname(asked), facts, events, NOW, profiles={})}
    assert "The CA reached 2.5.1.7:80 but nothing arrived here" in told["Why"]
    assert "A and AAAA records of b.example.com point to this machine" in told["What to do"]
