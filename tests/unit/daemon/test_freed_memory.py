"""Memory is given back when a crowd has left, once, and not for everyday coming and going."""

from proxyd.core.counters import Counters
from proxyd.daemon.freed_memory import FreedMemory
from proxyd.frontend.seats import Seat, Seats


def seats() -> Seats:
    return Seats(most=10_000, most_each=0, counters=Counters())


def come(one: Seats, count: int) -> list[Seat]:
    return [seat for _ in range(count) if (seat := one.take("https"))]


def leave(clients: list[Seat], count: int) -> None:
    for _ in range(count):
        clients.pop().leave()


def test_when_a_crowd_has_left() -> None:
    one = seats()
    memory, clients = FreedMemory(one), come(one, 1000)
    assert not memory.crowd_has_left()
    leave(clients, 499)
    assert not memory.crowd_has_left()
    leave(clients, 1)
    assert memory.crowd_has_left()
    assert not memory.crowd_has_left()
    leave(clients, 500)
    assert memory.crowd_has_left()


def test_a_crowd_that_came_and_went_between_two_looks() -> None:
    one = seats()
    memory = FreedMemory(one)
    leave(come(one, 300), 300)
    assert memory.crowd_has_left()
    assert not memory.crowd_has_left()


def test_a_few_are_no_crowd() -> None:
    one = seats()
    memory = FreedMemory(one)
    for _ in range(100):
        clients = come(one, 199)
        assert not memory.crowd_has_left()
        leave(clients, 199)
        assert not memory.crowd_has_left()
