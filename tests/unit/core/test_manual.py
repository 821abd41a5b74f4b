"""Certificates of the operator's own, as status, explain and alerts tell of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from proxyd.core.alarm import Alarm
from proxyd.core.alert_book import AlertBook
from proxyd.core.explanation import explain
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.manual import Manual
from proxyd.core.renewal import Validity
from proxyd.core.status import Facts, HostStatus, host_statuses
from proxyd.core.trouble import Trouble, TroubleKind, Urgency
from proxyd.core.trouble_report import troubles

NOW = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
A, B = Hostname("a.example.com"), Hostname("b.example.com")
FILES = Manual(cert="/tls/a.crt", key="/tls/a.key")


def facts(host: Hostname = A, *, left: timedelta | None = 60 * DAY, reason: str | None = None) -> Facts:
    """Return what is known of a host whose certificate lives for 90 days; `left`: of that; None: it has none."""
    held = None
    if left is not None:
        validity = Validity(not_before=NOW + left - 90 * DAY, not_after=NOW + left)
        held = Held(validity=validity, serial=255, cert_id="", issuer=None, is_owned=False, signed_by="Test CA")
    lineage = Lineage(host=host, names=(host,), key_kind="p256")
    plan = Plan(lineage=lineage, issuers=(), challenges=())
    return Facts(plan=plan, state=replace(FILES, reason=reason), held=held)


def row(one: Facts) -> HostStatus:
    return host_statuses([one], NOW)[A]


def only(*many: Facts) -> Trouble:
    (found,) = troubles(many, NOW)
    return found


def test_a_good_one_needs_nobody() -> None:
    found = row(facts())
    assert (found.state, found.issuer, found.serial) == ("manual", "Test CA", "ff")
    assert (found.not_after, found.renew_at, found.next_try) == (NOW + 60 * DAY, None, None)
    assert (found.last_error, found.needs_a_person) == (None, False)
    assert troubles([facts()], NOW) == []


def test_what_ends_needs_a_person_although_it_serves() -> None:
    found = row(facts(left=17 * DAY))
    assert found.state == "manual"
    assert found.needs_a_person
    assert found.last_error == (
        "the certificate of your own expires at 2027-01-18 00:00 UTC, in 17 d, and nothing renews it"
    )


def test_none_and_an_expired_one_are_missing() -> None:
    for one in (facts(left=None, reason="/tls/a.crt: gone"), facts(left=-DAY), facts(left=-DAY, reason="it expired")):
        found = row(one)
        assert found.state == "missing"
        assert found.needs_a_person
        assert found.last_error
    assert row(facts(left=None, reason="/tls/a.crt: gone")).issuer is None


def test_files_that_cannot_be_used_are_told_while_the_last_good_one_serves() -> None:
    found = row(facts(reason="/tls/a.crt: gone"))
    assert (found.state, found.last_error, found.needs_a_person) == ("manual", "/tls/a.crt: gone", True)


def test_the_end_is_told_in_steps_and_its_mend_too() -> None:
    book = AlertBook({}, server="m")
    told = []
    for day, left in enumerate((19.0, 18.0, 17.0, 9.0, 8.0, 4.5, 3.0, -1.0, 60.0)):
        reason = "it expired" if left < 0 else None
        found = troubles([facts(left=left * DAY, reason=reason)], NOW)
        told += [(one.event, one.urgency) for one in book.look(found, NOW + day * DAY)]
    assert told == [
        ("problem", Urgency.FIFTH_LEFT),
        ("problem", Urgency.TENTH_LEFT),
        ("problem", Urgency.TWENTIETH_LEFT),
        ("problem", Urgency.NOTHING_SERVES),
        ("resolved", Urgency.NOTHING_SERVES),
    ]


def test_hosts_with_the_same_file_are_one_trouble() -> None:
    found = only(facts(A, left=8 * DAY), facts(B, left=8 * DAY))
    assert found.hosts == (A, B)
    assert found.kind is TroubleKind.OWN_CERTIFICATE_ENDING
    assert found.urgency is Urgency.TENTH_LEFT
    assert found.runs_out_at == NOW + 8 * DAY
    assert "/tls/a.crt (its key in /tls/a.key)" in found.to_do
    found = only(facts(A, reason="x"), facts(B, left=None, reason="x"))
    assert (found.kind, found.urgency) == (TroubleKind.OWN_CERTIFICATE, Urgency.NOTHING_SERVES)


def test_an_alarm_of_a_file_is_one_trouble_too() -> None:
    alarm = Alarm(reason="leaf only", to_do="Append it.", kind=TroubleKind.OWN_CERTIFICATE)
    found = only(*(replace(facts(host), alarms=(alarm,)) for host in (A, B)))
    assert (found.hosts, found.reason, found.to_do) == ((A, B), "leaf only", "Append it.")
    assert found.urgency is Urgency.NOTICED


def story(one: Facts) -> dict[str, tuple[str, ...]]:
    return {section.title: section.lines for section in explain(A, [one], [], NOW, profiles={})}


def test_the_story() -> None:
    told = story(facts())
    where = "/tls/a.crt (its key in /tls/a.key)"
    assert told["Policy"] == (f"A certificate of your own, from {where}: proxyd orders none, and nothing renews it.",)
    assert "by Test CA, valid" in told["What serves"][0]
    assert "within seconds, without a reload" in told["What comes next"][0]
    assert told["What to do"] == ("Nothing.",)
    told = story(facts(left=8 * DAY))
    assert "nothing renews it" in told["Why"][0]
    assert told["What to do"][0].startswith(f"Put a new certificate with its chain into {where}")
    told = story(facts(left=None, reason="/tls/a.crt: is empty"))
    assert told["Why"] == ("/tls/a.crt: is empty.",)
    assert told["What serves"] == ("No certificate: clients that ask for a.example.com are refused.",)
    assert told["What to do"][0].startswith("Do what the text says.")
    assert replace(FILES, key=FILES.cert).files == "/tls/a.crt"
