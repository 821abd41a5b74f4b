import pytest

from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.frames import NO_ERROR, STREAM_CLOSED, rst_stream, window_update
from proxyd.frontend.h2.past_streams import UNFINISHED_SECONDS, PastStreams

_WINDOW = 65_536


class _Bench:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.charged = 0.0
        self.past = PastStreams(_WINDOW, put=self.sent.append, glitch=self._glitch)

    def _glitch(self, why: str, amount: float) -> None:
        self.charged += amount


def test_only_what_was_reset_lately_is_known() -> None:
    bench = _Bench()
    for stream in range(1, 601, 2):
        bench.past.add(stream)
    for stream in (1, 601):
        with pytest.raises(ConnectionFault) as raised:
            bench.past.headers(stream, ends=True)
        assert raised.value.code == STREAM_CLOSED
        with pytest.raises(ConnectionFault):
            bench.past.data(stream, 1, ends=True, was_open=True)
    bench.past.headers(599, ends=True)
    bench.past.data(599, 1000, ends=False, was_open=True)
    bench.past.data(603, 1000, ends=False, was_open=False)  # of a request that came too late
    assert bench.charged == pytest.approx(1.2)
    assert bench.sent == []


def test_what_is_not_finished_goes_on_for_a_while() -> None:
    bench = _Bench()
    bench.past.add_unfinished(1, 0, 10.0)  # the client had no room left
    bench.past.add_unfinished(3, _WINDOW, 10.0)
    assert bench.sent == [window_update(1, _WINDOW)]
    bench.past.data(1, 16_384, ends=False, was_open=True)
    bench.past.data(1, 16_384, ends=False, was_open=True)
    assert bench.sent[1:] == [window_update(1, 32_768)]
    assert bench.charged == 0
    bench.past.data(1, 1, ends=False, was_open=True)
    assert bench.charged > 0
    bench.past.data(3, 0, ends=True, was_open=True)
    assert not bench.past.finished(3)
    bench.past.look(10.0 + UNFINISHED_SECONDS / 2)
    assert bench.past.are_unfinished
    bench.past.look(10.0 + UNFINISHED_SECONDS)
    assert bench.sent[2:] == [rst_stream(1, NO_ERROR)]
    assert not bench.past.are_unfinished


def test_its_end_costs_nothing() -> None:
    bench = _Bench()
    bench.past.add_unfinished(1, _WINDOW, 10.0)
    bench.past.headers(1, ends=True)
    assert bench.charged == 0
    bench.past.headers(1, ends=True)
    assert bench.charged == 1
