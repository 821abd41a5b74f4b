"""Frames as they are on the wire (RFC 9113 §4.1, §6), and the numbers that are agreed on in them."""

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD: Final = 9
MAX_WINDOW: Final = 0x7FFFFFFF
#: What everybody must take (RFC 9113 §4.2): larger frames are neither asked for nor sent, so that streams alternate.
MAX_FRAME: Final = 16_384
LARGEST_FRAME: Final = 16_777_215
DEFAULT_WINDOW: Final = 65_535
#: What every table may be filled with (RFC 9113 §6.5.2).
DEFAULT_TABLE: Final = 4096

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

# RFC 9113 §6.5.2, RFC 8441 §3
HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8

# RFC 9113 §7
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
CONNECT_ERROR: Final = 10
ENHANCE_YOUR_CALM: Final = 11

#: Two parts of the length, type, flags, stream.
_HEAD = Struct(">BHBBI")
_SETTING = Struct(">HI")
unpack_head: Final = _HEAD.unpack_from
unpack_setting: Final = _SETTING.unpack_from
_pack = _HEAD.pack


def frame_head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """Return what stands before a payload of up to 65,535 bytes."""
    return _pack(0, length, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    """Return a frame that tells our settings."""
    payload = b"".join(_SETTING.pack(*one) for one in values.items())
    return _pack(0, len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK: Final = _pack(0, 0, SETTINGS, ACK, 0)


def ping(payload: bytes, *, ack: bool = False) -> bytes:
    """Return a PING with eight bytes, or the answer to one."""
    return _pack(0, 8, PING, ACK if ack else 0, 0) + payload


def goaway(last: int, code: int) -> bytes:
    """Return the frame that says which stream was the last (RFC 9113 §6.8)."""
    return _pack(0, 8, GOAWAY, 0, 0) + last.to_bytes(4) + code.to_bytes(4)


def rst_stream(stream: int, code: int) -> bytes:
    """Return the frame that ends a stream at once."""
    return _pack(0, 4, RST_STREAM, 0, stream) + code.to_bytes(4)


def window_update(stream: int, amount: int) -> bytes:
    """Return the frame that lets the client send more; stream 0: on the connection."""
    return _pack(0, 4, WINDOW_UPDATE, 0, stream) + amount.to_bytes(4)


def headers(stream: int, block: bytes, *, ends: bool) -> bytes:
    """Return the frames of a field block; `ends`: nothing follows on the stream."""
    end = END_STREAM if ends else 0
    if len(block) <= MAX_FRAME:
        return _pack(0, len(block), HEADERS, END_HEADERS | end, stream) + block
    frames = [_pack(0, MAX_FRAME, HEADERS, end, stream), block[:MAX_FRAME]]
    for start in range(MAX_FRAME, len(block), MAX_FRAME):  # RFC 9113 §6.10: nothing in between
        part = block[start : start + MAX_FRAME]
        flags = END_HEADERS if start + MAX_FRAME >= len(block) else 0
        frames += (_pack(0, len(part), CONTINUATION, flags, stream), part)
    return b"".join(frames)
