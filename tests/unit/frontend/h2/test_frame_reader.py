import itertools
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.frontend.h2.fault import ConnectionFault, StreamFault
from proxyd.frontend.h2.frame_reader import FrameReader
from tests.support.h2_client import PREFACE, frame, rst, settings, window_update


class _Notes:
    """Implements FrameSink: writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def data(self, stream: int, payload: bytes, size: int, *, ends: bool) -> None:
        self.told.append(("data", stream, payload, size, ends))

    def headers(self, stream: int, block: bytes, *, ends: bool, depends_on_itself: bool) -> None:
        self.told.append(("headers", stream, block, ends, depends_on_itself))

    def rst_stream(self, stream: int) -> None:
        self.told.append(("reset", stream))

    def settings(self, values: list[tuple[int, int]]) -> None:
        self.told.append(("settings", values))

    def ping(self, payload: bytes, *, ack: bool) -> None:
        self.told.append(("ping", payload, ack))

    def goaway(self) -> None:
        self.told.append(("goaway",))

    def window_update(self, stream: int, amount: int) -> None:
        self.told.append(("window", stream, amount))

    def glitch(self, why: str, amount: float = 1.0) -> None:
        self.told.append(("glitch", why))

    def broken(self, stream: int, fault: StreamFault) -> None:
        self.told.append(("broken", stream, fault.code))


def _reader(notes: _Notes) -> FrameReader:
    return FrameReader(notes, most_block=100, most_continued=3, now=lambda: 5.0)


_START = PREFACE + settings()
_ALL = b"".join(
    [
        _START,
        frame(1, 4 | 1, 1, b"block"),
        frame(1, 4 | 8 | 32, 3, b"\x02" + struct.pack(">IB", 1, 16) + b"block" + b"\0\0"),
        frame(1, 0, 5, b"blo") + frame(9, 0, 5, b"ck") + frame(9, 4, 5, b"!"),
        frame(0, 0, 3, b"body"),
        frame(0, 1 | 8, 3, b"\x01body\0"),
        frame(3, 0, 1, b"\0\0\0\x08"),
        frame(2, 0, 9, b"12345"),
        frame(6, 0, 0, b"12345678") + frame(6, 1, 0, b"12345678"),
        frame(4, 0, 0, struct.pack(">HIHI", 4, 100, 99, 1)) + frame(4, 1, 0),
        frame(7, 0, 0, bytes(8) + b"why"),
        window_update(0, 7) + window_update(3, 0x80000007),
        frame(0x10, 0, 0, b"u=1"),
        frame(2, 0, 9, b"1234"),
        frame(2, 0, 9, struct.pack(">IB", 9, 0)),
    ]
)
_TOLD = [
    ("settings", []),
    ("headers", 1, b"block", True, False),
    ("headers", 3, b"block", False, False),
    ("headers", 5, b"block!", False, False),
    ("data", 3, b"body", 4, False),
    ("data", 3, b"body", 6, True),
    ("reset", 1),
    ("glitch", "PRIORITY frames"),
    ("ping", b"12345678", False),
    ("ping", b"12345678", True),
    ("settings", [(4, 100), (99, 1)]),
    ("glitch", "acknowledgements of SETTINGS"),
    ("goaway",),
    ("window", 0, 7),
    ("window", 3, 7),
    ("glitch", "frames of unknown kinds"),
    ("glitch", "PRIORITY frames"),
    ("broken", 9, 6),
    ("glitch", "PRIORITY frames"),
    ("broken", 9, 1),
]


@given(st.lists(st.integers(0, len(_ALL)), max_size=20))
def test_frames_are_the_same_however_they_come(cuts: list[int]) -> None:
    notes = _Notes()
    reader = _reader(notes)
    places = [0, *sorted(cuts), len(_ALL)]
    for start, end in itertools.pairwise(places):
        if _ALL[start:end]:
            reader.feed(_ALL[start:end])
    assert notes.told == _TOLD
    assert reader.block_began is None


def test_byte_by_byte() -> None:
    notes = _Notes()
    reader = _reader(notes)
    for byte in _ALL:
        reader.feed(bytes([byte]))
    assert notes.told == _TOLD


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 1),
        (PREFACE + frame(6, 0, 0, bytes(8)), 1),
        (PREFACE + frame(4, 1, 0), 1),
        (_START + b"\x00\x40\x01" + bytes(6), 6),
        (_START + frame(0, 0, 0, b"x"), 1),
        (_START + frame(0, 8, 1, b""), 6),
        (_START + frame(0, 8, 1, b"\x01"), 1),
        (_START + frame(1, 4, 0, b""), 1),
        (_START + frame(1, 4, 2, b""), 1),
        (_START + frame(1, 4 | 32, 1, b"1234"), 6),
        (_START + frame(1, 4 | 8, 1, b"\x09123"), 1),
        (_START + frame(2, 0, 0, bytes(5)), 1),
        (_START + rst(0), 1),
        (_START + frame(3, 0, 1, b"123"), 6),
        (_START + frame(4, 0, 1), 1),
        (_START + frame(4, 1, 0, bytes(6)), 6),
        (_START + frame(4, 0, 0, bytes(5)), 6),
        (_START + frame(5, 4, 1, bytes(4)), 1),
        (_START + frame(6, 0, 1, bytes(8)), 1),
        (_START + frame(6, 0, 0, bytes(7)), 6),
        (_START + frame(7, 0, 1, bytes(8)), 1),
        (_START + frame(7, 0, 0, bytes(7)), 6),
        (_START + frame(8, 0, 0, bytes(3)), 6),
        (_START + frame(9, 4, 1, b""), 1),
        (_START + frame(1, 0, 1, b"") + frame(0, 0, 1, b""), 1),
        (_START + frame(1, 0, 1, b"") + frame(9, 4, 3, b""), 1),
        (_START + frame(1, 0, 1, b"") + frame(0xFF, 4, 1, b""), 1),
        (_START + frame(1, 0, 1, bytes(60)) + frame(9, 0, 1, bytes(41)), 11),
        (_START + frame(1, 0, 1, b"") + frame(9, 0, 1, b"") * 4, 11),
    ],
)
def test_what_ends_the_connection(data: bytes, code: int) -> None:
    with pytest.raises(ConnectionFault) as raised:
        _reader(_Notes()).feed(data)
    assert raised.value.code == code


def test_it_tells_since_when_a_block_is_not_complete() -> None:
    reader = _reader(_Notes())
    reader.feed(_START + frame(1, 0, 1, b"blo"))
    assert reader.block_began == 5.0
