"""How many connections there may be, and of whom."""

import pytest

from proxyd.frontend.seats import Seat, Seats


def test_a_seat_is_given_back_once() -> None:
    seats = Seats(most=2, most_each=0)
    first, second = seats.take(), seats.take()
    assert isinstance(first, Seat)
    assert isinstance(second, Seat)
    assert seats.take() is None
    first.leave()
    first.leave()
    assert isinstance(seats.take(), Seat)
    assert seats.take() is None
    assert seats.refused == 2


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")],
)
def test_a_client_has_so_many(one: str, same: str, other: str) -> None:
    seats = Seats(most=100, most_each=1)
    first, second, third = (seats.take() for _ in range(3))
    assert first
    assert second
    assert third
    assert first.sit(one)
    assert not second.sit(same)
    assert third.sit(other)
    second.leave()
    first.leave()
    last = seats.take()
    assert last
    assert last.sit(same)
    assert seats.taken == 2
