"""A TLS client that sends any bytes, and reads answers strictly."""

import contextlib
import socket
import ssl
import struct
import time

from tests.support import wire_message
from tests.support.wire_message import Incomplete, Message

_SECONDS = 10.0


def _is_cut(error: ssl.SSLError) -> bool:
    """Return whether the end came without close_notify: Python before 3.11.4 has no class for it with OpenSSL 3."""
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


class Truncated(Exception):
    """The connection ended in the middle of an answer, or without one."""


class RawClient:
    """One connection. `how_it_ended`: "", "closed" (with close_notify), "cut" (without), "reset"."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str, *, receive_buffer: int = 0) -> None:
        raw = socket.socket()
        raw.settimeout(_SECONDS)
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.connect(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._tls = context.wrap_socket(raw, server_hostname=name, suppress_ragged_eofs=False)
        except BaseException:
            raw.close()
            raise
        self.how_it_ended = ""
        self.unread = b""

    @property
    def socket(self) -> ssl.SSLSocket:
        return self._tls

    def send(self, *parts: bytes, pause: float = 0.0) -> None:
        """Send the parts, each for itself; when the other side is gone already, reading tells."""
        for part in parts:
            try:
                self._tls.sendall(part)
            except ssl.SSLError as error:
                if not _is_cut(error):
                    raise
            except ConnectionError:
                pass
            if pause:
                time.sleep(pause)

    def answer(self, method: bytes = b"GET", *, seconds: float = _SECONDS) -> Message:
        """Return the next answer, interim or final, whole. Raises Truncated, Ambiguous, TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(Incomplete):
                message, self.unread = wire_message.response(
                    self.unread, method=method, ended=self.how_it_ended == "closed"
                )
                return message
            if self.how_it_ended:
                raise Truncated(f"{self.how_it_ended} after {self.unread[-300:]!r}")
            self._receive(deadline)

    def final(self, method: bytes = b"GET", *, seconds: float = _SECONDS) -> Message:
        """Return the next final answer; interim ones are passed over."""
        while (one := self.answer(method, seconds=seconds)).status < 200:
            pass
        return one

    def exactly(self, size: int, *, seconds: float = _SECONDS) -> bytes:
        """Return so many bytes. Raises Truncated, TimeoutError."""
        deadline = time.monotonic() + seconds
        while len(self.unread) < size:
            if self.how_it_ended:
                raise Truncated(f"{self.how_it_ended} after {self.unread[-300:]!r}")
            self._receive(deadline)
        data, self.unread = self.unread[:size], self.unread[size:]
        return data

    def head(self, *, seconds: float = _SECONDS) -> bytes:
        """Return a head, with its empty line."""
        deadline = time.monotonic() + seconds
        while b"\r\n\r\n" not in self.unread:
            if self.how_it_ended:
                raise Truncated(f"{self.how_it_ended} after {self.unread[-300:]!r}")
            self._receive(deadline)
        return self.exactly(self.unread.index(b"\r\n\r\n") + 4)

    def some(self, *, seconds: float = _SECONDS) -> bytes:
        """Return whatever comes next; b"": the end."""
        deadline = time.monotonic() + seconds
        while not self.unread and not self.how_it_ended:
            self._receive(deadline)
        data, self.unread = self.unread, b""
        return data

    def rest(self, *, seconds: float = _SECONDS) -> bytes:
        """Return all until the end. Raises TimeoutError when it does not come."""
        deadline = time.monotonic() + seconds
        while not self.how_it_ended:
            self._receive(deadline)
        data, self.unread = self.unread, b""
        return data

    def has_ended(self, seconds: float = 1.0) -> bool:
        """Return whether the connection ends within the time and brings no byte more."""
        with contextlib.suppress(TimeoutError):
            return self.rest(seconds=seconds) == b""
        return False

    def is_silent(self, seconds: float) -> bool:
        """Return whether neither bytes nor the end come for a time."""
        with contextlib.suppress(TimeoutError):
            self._receive(time.monotonic() + seconds)
        return not self.unread and not self.how_it_ended

    def say_goodbye(self) -> None:
        """Send close_notify and the end; what the other side still says is not read."""
        self._tls.settimeout(0.02)
        with contextlib.suppress(OSError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._tls.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End without a word of TLS, as a client that is gone does."""
        self._tls.close()

    def reset(self) -> None:
        """End with an RST."""
        self._tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._tls.close()

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no more came; unread {self.unread[-300:]!r}")
        self._tls.settimeout(left)
        try:
            data = self._tls.recv(1 << 18)
        except TimeoutError:
            raise TimeoutError(f"no more came; unread {self.unread[-300:]!r}") from None
        except ssl.SSLError as error:
            if not _is_cut(error):
                raise
            self.how_it_ended = "cut"
        except ConnectionResetError:
            self.how_it_ended = "reset"
        else:
            self.unread += data
            if not data:
                self.how_it_ended = "closed"
        self._tls.settimeout(_SECONDS)
