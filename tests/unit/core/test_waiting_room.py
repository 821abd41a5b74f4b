"""No network and no name takes all places."""

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.hostname import Hostname
from proxyd.core.waiting_room import WaitingRoom

A = Hostname("a.example.com")


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.booleans()), max_size=2000))
def test_the_waiting_room_counts_right(steps: list[tuple[int, int, bool]]) -> None:
    room = WaitingRoom()
    inside: list[tuple[Hostname, str]] = []
    for name, network, comes in steps:
        if comes:
            place = (Hostname(f"n{name}.example.com"), f"10.0.{network}.0/24")
            if room.enter(*place):
                inside.append(place)
        elif inside:
            room.leave(*inside.pop())
        assert len(room) == len(inside) <= 512
    for place in inside:
        room.leave(*place)
    assert room.enter(A, "192.0.2.0/24")


def test_one_network_cannot_take_all_places() -> None:
    room = WaitingRoom()
    entered = sum(room.enter(Hostname(f"n{n}.example.com"), "192.0.2.0/24") for n in range(5000))
    assert entered == 64
    assert room.enter(A, "198.51.100.0/24")
