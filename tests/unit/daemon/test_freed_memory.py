"""Memory is given back when a crowd has left, once, and not for everyday coming and going."""

from proxyd.core.counters import Counters
from proxyd.daemon.freed_memory import FreedMemory


def test_when_a_crowd_has_left() -> None:
    counters = Counters()
    memory = FreedMemory(counters)
    counters.accepted["https"] += 1000
    assert not memory.crowd_has_left()
    counters.closed["https"] += 499
    assert not memory.crowd_has_left()
    counters.closed["https"] += 1
    assert memory.crowd_has_left()
    assert not memory.crowd_has_left()
    counters.closed["https"] += 500
    assert memory.crowd_has_left()


def test_a_few_are_no_crowd() -> None:
    counters = Counters()
    memory = FreedMemory(counters)
    for _ in range(100):
        counters.accepted["http"] += 199
        assert not memory.crowd_has_left()
        counters.closed["http"] += 199
        assert not memory.crowd_has_left()
