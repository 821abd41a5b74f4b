"""When a process counts as frozen, and when its successor is started."""

import signal

import pytest

from proxyd.daemon.channel import channel_pair
from proxyd.daemon.child import Child, how_it_ended


def born(child: Child, now: float) -> Child:
    line, other = channel_pair()
    other.close()
    child.began(4711, line, now)
    return child


def test_who_shows_no_life_for_ten_looks_is_frozen() -> None:
    child = born(Child("worker 1"), 0.0)
    assert not any(child.is_frozen(beats) for beats in range(1, 100))
    assert [child.is_frozen(99) for _ in range(11)] == [False] * 9 + [True, False]
    child.close()


def test_who_begins_has_five_minutes() -> None:
    child = born(Child("worker 1"), 0.0)
    assert [child.is_frozen(0) for _ in range(300)] == [False] * 299 + [True]
    child.close()


def test_the_next_comes_at_once_and_later_when_none_lives_long() -> None:
    child, now, pauses = Child("worker 1"), 0.0, []
    for _ in range(10):
        born(child, now)
        child.ended(now + 1)
        pauses.append(round(child.born_from - now - 1, 3))
        now = child.born_from
    assert pauses == [0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 10.0, 10.0, 10.0]
    born(child, now)
    child.ended(now + 60)
    assert child.born_from == now + 60
    born(child, now + 60)
    child.ended(now + 61)
    assert child.born_from == pytest.approx(now + 61.1)


@pytest.mark.parametrize(
    ("code", "words"), [(3, "exit status 3"), (-signal.SIGSEGV, "killed by SIGSEGV"), (-99, "killed by signal 99")]
)
def test_how_it_ended(code: int, words: str) -> None:
    assert how_it_ended(code) == words
