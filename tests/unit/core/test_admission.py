"""Whatever names and addresses come, memory and what they can cause stay bounded."""

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.admission import (
    NEWCOMERS,
    NEWCOMERS_SECONDS,
    NegativeCache,
    Throttle,
    WaitingRoom,
    may_be_certified,
    network_of,
)
from proxyd.core.hostname import Hostname

A = Hostname("a.example.com")


def test_names_that_no_ca_takes() -> None:
    good = ["a.example.com", "xn--bcher-kva.example.com", "1.2.3.4.5.6.7.8.example.com"]
    bad = ["a_b.example.com", "_dmarc.example.com", "1.2.3.4.5.6.7.8.9.example.com", "8.8.8.8", "2001:db8::1"]
    bad.append(".".join(["a" * 60] * 4))
    assert [name for name in good + bad if may_be_certified(Hostname(name), public=True)] == good
    assert not may_be_certified(Hostname("nas.local"), public=True)
    assert may_be_certified(Hostname("nas.local"), public=False)


def test_networks() -> None:
    assert network_of("192.0.2.77") == network_of("::ffff:192.0.2.1") == "192.0.2.0/24"
    assert network_of("2001:db8::1") == network_of("2001:db8:0:ff::1") != network_of("2001:db8:0:100::1")
    assert network_of("fe80::1%eth0") == "fe80::/56"
    assert len(network_of("x" * 1000)) == 64


def test_a_refused_name_is_refused_until_its_time() -> None:
    cache = NegativeCache()
    cache.put(A, 10)
    assert cache.holds(A, 9.9)
    assert not cache.holds(A, 10)
    assert len(cache) == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 100)), max_size=200))
def test_the_cache_never_grows_over_its_size(puts: list[tuple[int, float]]) -> None:
    cache = NegativeCache(size=8)
    for number, until in puts:
        cache.put(Hostname(f"n{number}.example.com"), until)
        assert len(cache) <= 8
    if puts:
        assert cache.holds(Hostname(f"n{puts[-1][0]}.example.com"), -1)


@given(st.lists(st.floats(0, 4 * NEWCOMERS_SECONDS), max_size=400))
def test_a_network_gets_its_share_and_no_more(steps: list[float]) -> None:
    throttle = Throttle()
    taken = [now for now in sorted(steps) if throttle.take("192.0.2.0/24", now)]
    for start in taken:
        inside = sum(start <= at < start + NEWCOMERS_SECONDS for at in taken)
        assert inside <= 2 * NEWCOMERS  # a full bucket, and what comes back meanwhile
    assert sum(at < 1 for at in taken) <= NEWCOMERS


def test_other_networks_are_not_throttled_and_memory_is_bounded() -> None:
    throttle = Throttle(size=100)
    assert sum(throttle.take("192.0.2.0/24", 0) for _ in range(5000)) == NEWCOMERS
    assert all(throttle.take(f"10.{n // 256}.{n % 256}.0/24", 0) for n in range(1000))
    assert len(throttle) == 100


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
