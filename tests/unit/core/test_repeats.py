"""The first few of a minute are told, the others counted; memory is bounded."""

from proxyd.core.repeats import Repeats


def test_a_flood_is_a_handful_and_one_line_a_minute() -> None:
    repeats = Repeats[int]()
    told = [number for number in range(1000) if repeats.admits("failed", "a", number, 100.0 + number / 1000)]
    assert told == list(range(10))
    assert repeats.due(159.9) == []
    assert repeats.due(160.0) == [(999, 990)]
    assert not repeats.admits("failed", "a", 1000, 161.0), "it goes on"
    assert repeats.due(220.0) == [(1000, 1)]
    assert repeats.due(280.0) == []
    assert repeats.admits("failed", "a", 1001, 281.0), "a minute was quiet"


def test_each_thing_is_counted_for_itself() -> None:
    repeats = Repeats[int]()
    assert all(repeats.admits("failed", about, 0, 0.0) for about in range(100))
    assert all(repeats.admits(kind, 0, 0, 0.0) for kind in ("worked", "left"))


def test_few_in_a_minute_are_all_told() -> None:
    repeats = Repeats[int]()
    assert all(repeats.admits("failed", "a", 0, now * 7.0) for now in range(1000))
    assert repeats.due(1e6) == []


def test_things_from_the_network_are_bounded() -> None:
    repeats = Repeats[int]()
    assert sum(repeats.admits("seen", about, about, 0.0) for about in range(100_000)) == 1010
    assert repeats.due(60.0) == [(99_999, 98_990)]
    assert repeats.admits("seen", "new", 0, 61.0)


def test_kinds_are_bounded() -> None:
    repeats = Repeats[int]()
    assert sum(repeats.admits(kind, None, kind, 0.0) for kind in range(100_000)) == 2010
    assert repeats.due(60.0) == [(99_999, 97_990)]
