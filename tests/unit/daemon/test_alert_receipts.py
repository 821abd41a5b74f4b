"""Each channel is told after a restart what it did not take before, with a real journal."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from proxyd.core.alert_book import AlertBook
from proxyd.core.hostname import Hostname
from proxyd.core.notice import Notice
from proxyd.core.trouble import Trouble, TroubleKind, Urgency
from proxyd.daemon.alert_receipts import AlertReceipts
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.memory import Memory
from proxyd.store.journal import Journal

BOTH = ("a", "b")
CLOCK = SystemClock()
NOW, MINUTE = CLOCK.now(), timedelta(minutes=1)


def trouble(urgency: Urgency = Urgency.NOTICED) -> Trouble:
    kind, host = TroubleKind.HOOK_FAILED, Hostname("a.example")
    return Trouble(key="hook a.example", kind=kind, urgency=urgency, reason="a.example: no", hosts=(host,))


class Life:
    """One run of the daemon, from its start on."""

    def __init__(self, memory: Memory) -> None:
        self.receipts = AlertReceipts(memory)
        self.book = AlertBook(self.receipts.read(BOTH, NOW), server="s")

    def look(self, *troubles: Trouble, minute: int = 0) -> tuple[list[Notice], list[tuple[str, str]]]:
        """Return what all are told, and what is owed to whom."""
        now = NOW + minute * MINUTE
        notices = self.book.look(troubles, now)
        for one in notices:
            self.receipts.told(one)
        owed = self.receipts.owed({one.key: one for one in troubles}, self.book.told, now, "s")
        self.owed = [*owed]
        return notices, [(channel, one.event) for channel, one in self.owed]

    def taken(self, notice: Notice, *channels: str) -> None:
        for one in channels:
            self.receipts.taken(notice, one, channels=BOTH, told=self.book.told)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Life]]:
    memory = Memory(Journal(tmp_path / "journal.sqlite3", clock=CLOCK), clock=CLOCK)
    memory.open()
    yield lambda: Life(memory)
    memory.close()


def test_a_problem_that_one_did_not_take(start: Callable[[], Life]) -> None:
    life = start()
    (notice,), _ = life.look(trouble())
    life.taken(notice, "a")
    again = start()
    assert again.look() == ([], []), "perhaps it is over"
    assert again.look(trouble(), minute=1) == ([], [("b", "problem")])
    assert again.look(trouble(), minute=2) == ([], [])
    assert start().look(trouble())[1] == [("b", "problem")], "it was put, and not taken"


def test_an_end_that_one_did_not_take(start: Callable[[], Life]) -> None:
    life = start()
    life.taken(life.look(trouble())[0][0], *BOTH)
    (over,), _ = life.look(minute=1)
    life.taken(over, "a")
    again = start()
    assert again.look() == ([], [("b", "resolved")])
    again.taken(again.owed[0][1], "b")
    assert start().book.told == {}


def test_what_has_grown_meanwhile(start: Callable[[], Life]) -> None:
    life, grown = start(), trouble(Urgency.FIFTH_LEFT)
    (first,), _ = life.look(trouble())
    (second,), _ = life.look(grown, minute=10)
    life.taken(first, *BOTH)
    life.taken(second, "a")
    assert start().look(grown) == ([], [("b", "problem")])


def test_what_none_took_is_told_as_new(start: Callable[[], Life]) -> None:
    start().look(trouble())
    assert len(start().look(trouble())[0]) == 1
