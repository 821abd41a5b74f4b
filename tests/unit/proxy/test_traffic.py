"""Whether requests come now, and when a name was last asked for."""

from datetime import timedelta

from proxyd.core.hostname import Hostname
from proxyd.proxy.traffic import Traffic
from tests.support.clock import FakeClock

HOST = Hostname("example.com")


def test_requests_flow_until_none_came_for_a_while() -> None:
    clock = FakeClock()
    traffic = Traffic(clock=clock)
    assert not traffic.is_flowing()
    clock.advance(timedelta(hours=1))
    traffic.note(HOST, clock.monotonic())
    assert traffic.is_flowing()
    clock.advance(timedelta(seconds=0.9))
    assert traffic.is_flowing()
    clock.advance(timedelta(seconds=0.2))
    assert not traffic.is_flowing()


def test_the_last_request_of_a_name_is_known_in_wall_time() -> None:
    clock = FakeClock()
    traffic = Traffic(clock=clock)
    assert traffic.last(HOST) is None
    at = clock.now()
    traffic.note(HOST, clock.monotonic())
    clock.advance(timedelta(minutes=5))
    assert traffic.last(HOST) == at
