import base64
import hashlib

from proxyd.frontend.h2.websocket_key import WebSocketKey


def test_only_who_read_the_key_is_accepted() -> None:
    key = WebSocketKey()
    written = key.line.removeprefix(b"\r\nSec-WebSocket-Key: ")
    assert len(base64.b64decode(written)) == 16
    digest = hashlib.sha1(written + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    right = b"\r\nA: b\r\nsec-websocket-ACCEPT: %b\r\nC: d" % base64.b64encode(digest)
    assert key.accepted(right) == b"\r\nA: b\r\nC: d"
    assert key.accepted(right + b"\r\nSec-WebSocket-Accept: x") is None
    assert key.accepted(b"\r\nSec-WebSocket-Accept: x") is None
    assert key.accepted(b"") is None
    assert WebSocketKey().accepted(right) is None
