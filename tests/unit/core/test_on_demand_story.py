"""What is told of wildcard hosts, and of names under them that got nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.core.on_demand_story import explain_pattern, explain_unserved, unserved_status
from proxyd.core.on_demand_view import OnDemandView
from proxyd.core.refusal import Refusal

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
PATTERN = HostPattern("*.apps.example.com")
HOST = Hostname("a.apps.example.com")
ASK = "http://127.0.0.1:9000/check"


def view(*, free_at: datetime | None = None, names: int = 0, ask: str | None = ASK) -> OnDemandView:
    return OnDemandView(
        pattern=PATTERN,
        issuers=("letsencrypt", "zerossl"),
        challenges=("http-01",),
        ask=ask,
        max_new_per_day=10,
        new_today=10 if free_at else 3,
        free_at=free_at,
        public=True,
        names=tuple(Hostname(f"n{number}.apps.example.com") for number in range(names)),
    )


def told(host: Hostname, refusal: Refusal | None, *events: JournalEvent, free_at: datetime | None = None) -> str:
    sections = explain_unserved(host, view(free_at=free_at), refusal, events, NOW)
    return "\n".join(line for section in sections for line in section.lines)


@pytest.mark.parametrize(
    ("reason", "detail", "to_do"),
    [
        ("ask refused", f"{ASK} answered 404", f"let {ASK} answer 2xx to ?domain={HOST}"),
        ("ask gave no answer", f"{ASK} answered 500", f"Let {ASK} answer within two seconds"),
        ("max_new_per_day is used up", "", "raise acme.on_demand.max_new_per_day of *.apps.example.com"),
        ("too many names wait", "", "it is tried again when a client next asks"),
    ],
)
def test_a_refusal_says_what_to_do(reason: str, detail: str, to_do: str) -> None:
    refusal = Refusal(at=NOW - timedelta(minutes=3), reason=reason, detail=detail)
    text = told(HOST, refusal)
    assert f"At 2027-01-01 11:57:00 UTC a client was refused: {refusal}." in text
    assert to_do in text
    row = unserved_status(HOST, view(), refusal)
    assert (row.state, row.needs_a_person) == ("missing", False)
    assert reason in str(row.last_error)


def test_without_a_refusal_the_rules_and_the_journal_tell() -> None:
    assert "none asked for it lately" in told(HOST, None)
    assert "No CA certifies such a name" in told(Hostname("a_b.apps.example.com"), None)
    free_at = NOW + timedelta(hours=3)
    assert "No new name gets a certificate before one is allowed again at 2027-01-01 15:00 UTC (in 3 h)" in told(
        HOST, None, free_at=free_at
    )
    given_up = JournalEvent(at=NOW, host=HOST, kind="forgotten", issuer=None, fields={"reason": "nobody asked again"})
    assert "It was tried and given up: nobody asked again." in told(HOST, None, given_up)


def test_a_wildcard_host() -> None:
    lines = [line for one in explain_pattern(view(names=22), [], NOW) for line in one.lines]
    assert lines[0] == (
        f"Each name under *.apps.example.com gets a certificate when a client first asks for it, if {ASK} allows it: "
        "at most 10 new names in 24 hours, from letsencrypt, else from zerossl; proved by http-01."
    )
    assert lines[1].endswith("n19.apps.example.com, and 2 more.")
    assert view(names=1).words == "on demand: 1 name is served; 3 of 10 new names in 24 h used"
    assert "whatever it is" in explain_pattern(view(ask=None), [], NOW)[0].lines[0]
