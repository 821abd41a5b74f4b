import pytest

from proxyd.frontend.h2.fault import ConnectionFault, StreamFault
from proxyd.frontend.h2.frames import FRAME_HEAD, unpack_head
from proxyd.frontend.h2.outbox import HIGH, LOW, Outbox, Outgoing


class _Stream(Outgoing):
    """Writes down when little was left, and when it was over."""

    __slots__ = ("asked", "told")

    def __init__(self, number: int, window: int = 65_535, *, urgency: int = 3) -> None:
        super().__init__(number, window)
        self.told: list[str] = []
        self.asked = urgency

    def urgency(self) -> int:
        return self.asked

    def drained(self) -> None:
        self.told.append("drained")

    def ended(self) -> None:
        self.told.append("ended")


class _Desk:
    def __init__(self) -> None:
        self.woken = self.forced = 0
        self.outbox = Outbox(wake=self._wake, forced=self._force, most_controls=3)

    def _wake(self) -> None:
        self.woken += 1

    def _force(self) -> None:
        self.forced += 1

    def frames(self) -> list[tuple[int, int, int, int]]:
        """Return (kind, flags, stream, size) of all that one turn brings."""
        data, found = self.outbox.take(), []
        while data:
            high, low, kind, flags, stream = unpack_head(data)
            size = high << 16 | low
            found.append((kind, flags, stream, size))
            data = data[FRAME_HEAD + size :]
        return found


def test_a_small_answer_goes_out_at_once() -> None:
    desk, stream = _Desk(), _Stream(1)
    desk.outbox.head(stream, b"head", ends=False)
    desk.outbox.body(stream, b"body", ends=True)
    assert desk.woken == 1
    assert desk.frames() == [(1, 4, 1, 4), (0, 1, 1, 4)]
    assert stream.told == ["ended"]
    assert (desk.outbox.window, stream.window, desk.outbox.sent) == (65_531, 65_531, 4)


def test_large_ones_take_turns() -> None:
    desk, streams = _Desk(), [_Stream(1), _Stream(3)]
    desk.outbox.widen(1 << 20)
    for stream in streams:
        desk.outbox.body(stream, bytes(50_000), ends=True)
    small = _Stream(5)
    desk.outbox.body(small, b"small", ends=True)
    assert [one[2] for one in desk.frames()] == [5, 1, 3, 1, 3]
    assert desk.woken == 2  # more follows in the next turn
    assert [(one[2], one[1]) for one in desk.frames()] == [(1, 0), (3, 0), (1, 1), (3, 1)]
    assert all(stream.told == ["drained", "ended"] or stream.told == ["ended"] for stream in streams)
    assert desk.outbox.queued == 0
    assert desk.frames() == []


def test_what_is_urgent_has_a_larger_share() -> None:
    """RFC 9218 §10; but nobody has none."""
    desk, streams = _Desk(), [_Stream(1, 1 << 22, urgency=5), _Stream(3, 1 << 22), _Stream(5, 1 << 22, urgency=1)]
    desk.outbox.widen(1 << 24)
    for stream in streams:
        desk.outbox.body(stream, bytes(1 << 22), ends=True)
    for _ in range(42):
        desk.frames()
    background, usual, urgent = (stream.sent for stream in streams)
    assert urgent == pytest.approx(4 * usual, rel=0.2)
    assert usual == pytest.approx(4 * background, rel=0.2)
    late = _Stream(7, 1 << 20)
    desk.outbox.body(late, bytes(1 << 20), ends=True)  # makes up for nothing that others had before
    for _ in range(10):
        desk.frames()
    assert 0 < late.sent < usual


def test_windows_are_kept_to() -> None:
    desk, stream = _Desk(), _Stream(1, 1000)
    desk.outbox.body(stream, bytes(3000), ends=True)
    assert desk.frames() == [(0, 0, 1, 1000)]
    assert desk.frames() == []
    desk.outbox.widen_stream(stream, 500)
    assert desk.frames() == [(0, 0, 1, 500)]
    desk.outbox.resize(65_535 - 200, [stream])  # negative from now on (RFC 9113 §6.9.2)
    assert stream.window == -200
    desk.outbox.widen_stream(stream, 201)
    assert desk.frames() == [(0, 0, 1, 1)]
    assert desk.forced == 1
    desk.outbox.widen_stream(stream, 10_000)
    assert desk.frames() == [(0, 1, 1, 1499)]
    assert stream.told[-1] == "ended"


def test_the_connections_window_holds_up_all_but_the_end() -> None:
    desk, first, second, third = _Desk(), _Stream(1, 1 << 20), _Stream(3), _Stream(5)
    desk.outbox.body(first, bytes(100_000), ends=True)
    assert sum(one[3] for one in desk.frames()) == 65_535
    desk.outbox.body(second, b"x", ends=True)
    desk.outbox.body(third, b"", ends=True)
    assert desk.frames() == [(0, 1, 5, 0)]
    desk.outbox.widen(10)
    assert [one[2:] for one in desk.frames()] == [(3, 1), (1, 9)]
    desk.outbox.widen(1)
    with pytest.raises(ConnectionFault):
        desk.outbox.widen(0x7FFFFFFF)


def test_what_waits_tells_when_little_is_left() -> None:
    desk, stream = _Desk(), _Stream(1, HIGH + 1000)
    desk.outbox.widen(1 << 20)
    desk.outbox.body(stream, bytes(HIGH), ends=False)
    desk.frames()
    assert stream.queued < LOW
    assert "drained" in stream.told
    assert "ended" not in stream.told


def test_trailers_come_behind_the_body() -> None:
    desk, stream = _Desk(), _Stream(1, 10)
    desk.outbox.body(stream, bytes(20), ends=False)
    desk.outbox.trailers(stream, b"last")
    assert desk.frames() == [(0, 0, 1, 10)]
    desk.outbox.widen_stream(stream, 10)
    assert desk.frames() == [(0, 0, 1, 10), (1, 5, 1, 4)]
    assert stream.told[-1] == "ended"


def test_a_stream_that_is_forgotten_sends_nothing() -> None:
    desk, stream = _Desk(), _Stream(1, 10)
    desk.outbox.body(stream, bytes(20), ends=True)
    desk.outbox.forget(stream)
    assert desk.outbox.queued == 0
    assert desk.frames() == []


def test_a_blocked_transport_gets_nothing() -> None:
    desk, stream = _Desk(), _Stream(1)
    desk.outbox.is_blocked = True
    desk.outbox.put(b"123456789")
    desk.outbox.body(stream, b"x", ends=True)
    assert desk.outbox.take() == b""
    assert desk.outbox.held == 1
    desk.outbox.is_blocked = False
    assert desk.outbox.take() == b"123456789" + b"\0\0\x01\0\x01\0\0\0\x01x"


def test_answers_that_are_not_read_have_a_limit() -> None:
    desk = _Desk()
    for _ in range(3):
        desk.outbox.control(b"x")
    desk.outbox.take()
    for _ in range(3):
        desk.outbox.control(b"x")
    with pytest.raises(ConnectionFault) as raised:
        desk.outbox.control(b"x")
    assert raised.value.limit == "http2_control_frames"


def test_windows_have_an_end() -> None:
    desk, stream = _Desk(), _Stream(1)
    with pytest.raises(StreamFault):
        desk.outbox.widen_stream(stream, 0x7FFFFFFF)
    with pytest.raises(ConnectionFault):
        desk.outbox.resize(0x80000000, [])


def test_a_client_without_a_table_is_told_that_there_is_none() -> None:
    """RFC 7541 §4.2."""
    desk = _Desk()
    desk.outbox.drops_table = True
    desk.outbox.head(_Stream(1), b"head", ends=True)
    desk.outbox.head(_Stream(3), b"head", ends=True)
    assert [one[3] for one in desk.frames()] == [5, 4]
