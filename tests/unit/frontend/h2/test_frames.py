import hyperframe.frame as theirs
import pytest

from proxyd.frontend.h2 import frames


def _read(data: bytes) -> list[theirs.Frame]:
    found = []
    while data:
        frame, length = theirs.Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found


def _data(one: theirs.Frame) -> bytes:
    assert isinstance(one, theirs.HeadersFrame | theirs.ContinuationFrame)
    return one.data


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 40_000, 49_152])
@pytest.mark.parametrize("ends", [True, False])
def test_a_block_is_continued_in_frames(size: int, ends: bool) -> None:
    """RFC 9113 §6.10."""
    block = bytes(range(256)) * 200
    first, *rest = _read(frames.headers(7, block[:size], ends=ends))
    assert isinstance(first, theirs.HeadersFrame)
    assert all(isinstance(one, theirs.ContinuationFrame) for one in rest)
    assert ("END_STREAM" in first.flags) is ends
    assert ["END_HEADERS" in one.flags for one in (first, *rest)] == [False] * len(rest) + [True]
    assert b"".join(_data(one) for one in (first, *rest)) == block[:size]
    assert all(one.stream_id == 7 and one.body_len <= 16_384 for one in (first, *rest))


def test_the_others() -> None:
    data = frames.settings({3: 100, 4: 65_536}) + frames.SETTINGS_ACK + frames.ping(b"12345678", ack=True)
    data += frames.goaway(5, 11) + frames.rst_stream(3, 8) + frames.window_update(0, 1000)
    settings, ack, ping, goaway, rst, update = _read(data)
    assert isinstance(settings, theirs.SettingsFrame)
    assert settings.settings == {3: 100, 4: 65_536}
    assert "ACK" in ack.flags
    assert isinstance(ping, theirs.PingFrame)
    assert (ping.opaque_data, "ACK" in ping.flags) == (b"12345678", True)
    assert isinstance(goaway, theirs.GoAwayFrame)
    assert (goaway.last_stream_id, goaway.error_code) == (5, 11)
    assert isinstance(rst, theirs.RstStreamFrame)
    assert (rst.stream_id, rst.error_code) == (3, 8)
    assert isinstance(update, theirs.WindowUpdateFrame)
    assert (update.stream_id, update.window_increment) == (0, 1000)
