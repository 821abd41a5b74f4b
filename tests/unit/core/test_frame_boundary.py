"""Where a WebSocket frame ends, however its bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from proxyd.core.frame_boundary import FrameBoundary

_SIZES = st.one_of(st.integers(0, 130), st.integers(65_530, 65_540))


def _frame(size: int, *, masked: bool = False, opcode: Opcode = Opcode.BINARY) -> bytes:
    return Frame(opcode, b"\x88" * size).serialize(mask=masked)  # payloads that look like close frames


@given(frames=st.lists(st.tuples(_SIZES, st.booleans()), max_size=6), data=st.data())
def test_it_is_known_after_every_piece(frames: list[tuple[int, bool]], data: st.DataObject) -> None:
    ends, stream = {0}, b""
    for size, masked in frames:
        stream += _frame(size, masked=masked)
        ends.add(len(stream))
    around = st.sampled_from(sorted({place for end in ends for place in range(max(0, end - 15), end + 15)}))
    cuts = sorted({one for one in data.draw(st.lists(around, max_size=12)) if one <= len(stream)} | {len(stream)})
    boundary, at = FrameBoundary(), 0
    for cut in cuts:
        boundary.feed(stream[at:cut])
        at = cut
        assert boundary.takes_frame is (cut in ends)


@pytest.mark.parametrize("size", [1, 7])
def test_nothing_follows_a_close_frame(size: int) -> None:
    boundary = FrameBoundary()
    stream = _frame(3) + _frame(2, opcode=Opcode.CLOSE)
    for at in range(0, len(stream), size):
        boundary.feed(stream[at : at + size])
    assert not boundary.takes_frame


@pytest.mark.parametrize(("count", "is_followed"), [(900, True), (100_000, False)])
def test_very_many_frames_in_one_piece_are_not_followed(count: int, is_followed: bool) -> None:
    boundary = FrameBoundary()
    boundary.feed(_frame(0) * count)
    boundary.feed(_frame(3))
    assert boundary.takes_frame is is_followed
