from datetime import UTC, datetime, timedelta

import pytest

from proxyd.core.alarm import Alarm
from proxyd.core.certificate_state import Blocked, CertificateState, Dormant, Missing, Ordering, Ready, Waiting
from proxyd.core.clock_watch import Doubt
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.renewal import RenewalWindow, Validity
from proxyd.core.status import Facts, HostStatus, budget_document, host_statuses, status_document

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOST = Hostname("a.example.com")


def plan(*names: str, kind: str = "p256") -> Plan:
    hosts = tuple(map(Hostname, names or ("a.example.com",)))
    return Plan(
        lineage=Lineage(host=hosts[0], names=hosts, key_kind=kind),
        issuers=("letsencrypt", "zerossl"),
        challenges=("http-01",),
    )


def held(*, age: int = 10, lifetime: int = 90) -> Held:
    start = NOW - timedelta(days=age)
    validity = Validity(not_before=start, not_after=start + timedelta(days=lifetime))
    return Held(validity=validity, serial=255, cert_id="", issuer=None, is_owned=False, signed_by="Test CA")


def failure(kind: FailureKind) -> Failure:
    return Failure(kind=kind, message=f"a.example.com: {kind.value}")


def waiting(kind: FailureKind, failures: int = 1) -> Waiting:
    return Waiting(retry_at=NOW + timedelta(hours=1), failures=failures, failure=failure(kind))


def row(state: CertificateState, serving: Held | None = None) -> HostStatus:
    return host_statuses([Facts(plan=plan(), state=state, held=serving)], NOW)[HOST]


def test_a_ready_host() -> None:
    window = RenewalWindow(cert_id="", start=NOW, end=NOW + timedelta(days=1), explanation_url="https://ca.example/why")
    found = row(Ready(renew_at=NOW + timedelta(days=50), window=window), held())
    assert found.to_document() == {
        "state": "ready",
        "issuer": "Test CA",
        "serial": "ff",
        "not_before": "2026-12-22T00:00:00Z",
        "not_after": "2027-03-22T00:00:00Z",
        "renew_at": "2027-02-20T00:00:00Z",
        "failures": 0,
        "last_error": None,
        "next_try": None,
        "explanation_url": "https://ca.example/why",
        "needs_a_person": False,
        "alarms": [],
    }


def test_an_alarm_needs_a_person_although_the_host_is_ready() -> None:
    alarm = Alarm(reason="the certificate that serves is in memory only", to_do="Repair the disk.")
    state = Ready(renew_at=NOW + timedelta(days=50))
    rows = host_statuses([Facts(plan=plan(), state=state, held=held(), alarms=(alarm,))], NOW)
    document = status_document(rows, {}, version="1", from_daemon=True)
    assert document["ok"] is False
    assert (rows[HOST].state, rows[HOST].last_error) == ("ready", None)
    assert rows[HOST].to_document()["alarms"] == ["the certificate that serves is in memory only"]


def test_the_key_kind_with_an_alarm_is_shown() -> None:
    state = Ready(renew_at=NOW + timedelta(days=50))
    alarm = Alarm(reason="not confirmed", to_do="Look.")
    facts = [
        Facts(plan=plan(), state=state, held=held(), alarms=(alarm,)),
        Facts(plan=plan(kind="rsa2048"), state=state, held=held()),
    ]
    for order in (facts, facts[::-1]):
        assert host_statuses(order, NOW)[HOST].alarms == ("not confirmed",)


@pytest.mark.parametrize(
    ("state", "serving", "shown", "needs"),
    [
        (Missing(), None, "missing", True),
        (Ordering(failures=0), None, "ordering", True),
        (Ordering(failures=0), held(), "ordering", False),
        (Ready(renew_at=NOW), held(age=100), "missing", True),  # expired
        (waiting(FailureKind.VALIDATION), held(), "waiting", True),
        (waiting(FailureKind.CA), held(), "waiting", False),
        (waiting(FailureKind.CA), held(age=85), "waiting", True),  # the last tenth of its life
        (waiting(FailureKind.CA), None, "waiting", True),
        (waiting(FailureKind.RATE_LIMITED, 0), held(), "waiting", False),
        (waiting(FailureKind.LOCAL), held(), "waiting", True),
        (Blocked(probe_at=NOW, failures=1, failure=failure(FailureKind.PAUSED)), held(), "blocked", True),
        (Dormant(since=NOW, probe_at=NOW, failures=9, failure=failure(FailureKind.VALIDATION)), None, "dormant", False),
    ],
)
def test_what_needs_a_person(state: CertificateState, serving: Held | None, shown: str, needs: bool) -> None:
    found = row(state, serving)
    assert (found.state, found.needs_a_person) == (shown, needs)


def test_two_kinds_of_keys_show_the_worse_and_aliases_have_rows_of_their_own() -> None:
    good = Ready(renew_at=NOW + timedelta(days=50))
    bad = waiting(FailureKind.VALIDATION)
    names = ("a.example.com", "b.example.com")
    facts = [
        Facts(plan=plan(*names), state=good, held=held()),
        Facts(plan=plan(*names, kind="rsa2048"), state=bad, held=None),
    ]
    for order in (facts, facts[::-1]):
        rows = host_statuses(order, NOW)
        assert {host.text: row.state for host, row in rows.items()} == dict.fromkeys(names, "waiting")


def test_the_document_and_its_budget() -> None:
    facts = [Facts(plan=plan(), state=waiting(FailureKind.RATE_LIMITED, 0), held=held())]
    budget = budget_document(facts, {"letsencrypt": {"orders_left": 3, "orders_limit": 300}})
    document = status_document(host_statuses(facts, NOW), budget, version="1", from_daemon=False)
    assert document["ok"] is True
    assert document["from"] == "cache"
    assert document["clock"] is None
    assert document["cache"] is None
    assert document["budget"] == {
        "letsencrypt": {
            "orders_left": 3,
            "orders_limit": 300,
            "waiting": {"a.example.com": "2027-01-01T01:00:00Z"},
        },
        "zerossl": {"orders_left": None, "orders_limit": None, "waiting": {}},
    }


def test_a_wrong_clock_needs_a_person() -> None:
    doubt = Doubt(reason="the clock of this machine jumped", holds=False)
    document = status_document({}, {}, version="1", from_daemon=True, doubt=doubt)
    assert document["ok"] is False
    assert document["clock"] == "the clock of this machine jumped"


def test_a_cache_that_takes_nothing_needs_a_person() -> None:
    cache = Alarm(reason="the cache /c is not writable: Read-only file system", to_do="Repair the disk.")
    document = status_document({}, {}, version="1", from_daemon=True, cache=cache)
    assert document["ok"] is False
    assert document["cache"] == "the cache /c is not writable: Read-only file system"


def test_a_row_is_read_as_it_was_written() -> None:
    for state in (Missing(), Ready(renew_at=NOW + timedelta(days=3)), waiting(FailureKind.CA)):
        facts = Facts(plan=plan(), state=state, held=held(), alarms=(Alarm(reason="it is late", to_do="wait"),))
        row = host_statuses([facts], NOW)[HOST]
        assert HostStatus.read_document(HOST, row.to_document()) == row
    window = RenewalWindow(cert_id="", start=NOW, end=NOW + timedelta(days=1))
    facts = Facts(plan=plan(), state=Ready(renew_at=NOW, window=window), held=held())
    assert host_statuses([facts], NOW)[HOST].window == window
