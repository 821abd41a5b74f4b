from datetime import UTC, datetime
from pathlib import Path

from proxyd.core.hostname import Hostname
from proxyd.issuance.challenge_hits import ChallengeHits
from proxyd.issuance.memory import Memory
from proxyd.store.journal import Journal
from tests.support.clock import FakeClock

HOST = Hostname("a.example.com")


def test_who_came_is_kept_and_a_flood_is_not(tmp_path: Path) -> None:
    clock = FakeClock(datetime(2027, 1, 1, tzinfo=UTC))
    memory = Memory(Journal(tmp_path / "journal.sqlite3", clock=clock), clock=clock)
    memory.open()
    hits = ChallengeHits(memory)
    hits.by_http(HOST, "192.0.2.7", "token", "CA\x1b[31m" + "x" * 500)
    for _ in range(500):
        hits.by_tls(HOST, "192.0.2.8", "other")
    events = memory.history(HOST)
    memory.close()
    assert events[0].fields["agent"] == "CA [31m" + "x" * 113
    assert {key: events[0].fields[key] for key in ("client", "by", "token")} == {
        "client": "192.0.2.7",
        "by": "http-01",
        "token": "token",
    }
    assert len(events) == 1 + 20
