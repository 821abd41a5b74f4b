"""The handshake of a WebSocket that its client, with HTTP/2, does not make (RFC 8441 §5): we do, with the upstream."""

import base64
import hashlib
import secrets
from typing import Final

#: RFC 6455 §1.3
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_NAME = b"sec-websocket-accept"


class WebSocketKey:
    """Of one tunnel: a key that nobody else has used."""

    __slots__ = ("_accept", "line")

    def __init__(self) -> None:
        key = base64.b64encode(secrets.token_bytes(16))
        self.line = b"\r\nSec-WebSocket-Key: " + key
        self._accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())

    def accepted(self, lines: bytes) -> bytes | None:
        """Return the lines of the upstream's answer for the client, or None: the upstream has not read the key."""
        kept, answers = [b""], []
        for line in lines.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == _NAME:
                answers.append(value.strip(b" \t"))
            else:
                kept.append(line)
        return b"\r\n".join(kept) if answers == [self._accept] else None
