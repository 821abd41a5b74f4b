"""How many connections there may be, and of whom."""

import pytest

from proxyd.core.counters import Counters
from proxyd.core.networks import Networks, network_of
from proxyd.frontend.seats import Seat, Seats


def test_a_seat_is_given_back_once() -> None:
    seats = Seats(most=2, most_each=0, counters=Counters())
    first, second = seats.take("https"), seats.take("https")
    assert isinstance(first, Seat)
    assert isinstance(second, Seat)
    assert seats.take("https") is None
    first.leave()
    first.leave()
    assert isinstance(seats.take("https"), Seat)
    assert seats.take("https") is None
    assert seats.refused == 2


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")],
)
def test_a_client_has_so_many(one: str, same: str, other: str) -> None:
    seats = Seats(most=100, most_each=1, counters=Counters())
    first, second, third = (seats.take("https") for _ in range(3))
    assert first
    assert second
    assert third
    assert first.sit(one)
    assert not second.sit(same)
    assert third.sit(other)
    second.leave()
    first.leave()
    last = seats.take("https")
    assert last
    assert last.sit(same)
    assert seats.here == 2


def test_a_trusted_proxy_is_not_one_client() -> None:
    seats = Seats(most=3, most_each=1, counters=Counters())
    seats.crowds = Networks([network_of("192.0.2.0/24")])
    taken = [seats.take("https") for _ in range(3)]
    assert all(one and one.sit("192.0.2.1") for one in taken)
    assert seats.take("https") is None
    for one in taken:
        if one:
            one.leave()
    assert seats.here == 0
