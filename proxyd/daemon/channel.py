"""Messages between two processes of the daemon: whole, in order, over a socket pair that outlives both.

A message is a JSON object; `payload` are bytes beside it, which travel as a sealed memory file: whoever reads them
knows that nobody changes them any more (memfd_create(2)).
"""

import asyncio
import errno
import json
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

from proxyd.daemon.sealed_memory import sealed, unsealed

_log = logging.getLogger("proxyd.daemon")
#: Longer ones travel beside.
_LONGEST = 32 << 10
_MOST_WAITING = 10_000
_BATCH = 64
_DESCRIPTOR = Struct("i")
_AGAIN_SECONDS = 0.5
#: What a machine lacks for a moment.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)

#: Sockets that travel along are under this key.
SOCKETS = "sockets"
_MOST_SOCKETS = 200

Message = dict[str, Any]
Receive = Callable[[Message, bytes], None]


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a channel; both survive a process that is replaced."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


class Channel:
    """One end, in an event loop. `receive` is called with each message and its payload; `lost`, when one was lost."""

    def __init__(self, end: socket.socket, receive: Receive, *, lost: Callable[[], None] = lambda: None) -> None:
        self._end = end
        self._receive = receive
        self._lost = lost
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._is_full = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end, self._read)

    def send(self, message: Message, payload: bytes = b"") -> None:
        """Send it, now or as soon as the other end takes it; for one that takes nothing any more it is dropped."""
        text = json.dumps(message, separators=(",", ":")).encode()
        if len(text) > _LONGEST:
            assert not payload, "a message with a payload is short"
            text, payload = b"", text
        if len(self._waiting) >= _MOST_WAITING:
            if not self._is_full:
                self._is_full = True
                _log.error("another process takes no messages: they are dropped until it is replaced")
            return
        self._is_full = False
        self._waiting.append((text, payload))
        if len(self._waiting) == 1:
            self._write()

    def forget(self) -> None:
        """Drop what waits: it was for a process that is gone."""
        self._waiting.clear()
        self._loop.remove_writer(self._end)

    def close(self) -> None:
        """Neither read nor write any more."""
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)

    def _write(self) -> None:
        while self._waiting:
            try:
                send(self._end, *self._waiting[0])
            except BlockingIOError:
                self._loop.add_writer(self._end, self._write)
                return
            except OSError as error:
                if error.errno in _PASSING:
                    _log.error("a message to another process has to wait", extra={"reason": error.strerror})
                    self._loop.call_later(_AGAIN_SECONDS, self._write)
                    return
                _log.error("a message to another process is lost", extra={"reason": error.strerror})
            if self._waiting:
                self._waiting.popleft()
        self._loop.remove_writer(self._end)

    def _read(self) -> None:
        for _ in range(_BATCH):
            try:
                found = receive(self._end)
            except BlockingIOError:
                return
            except OSError as error:
                _log.error("a message of another process is lost", extra={"reason": str(error)})
                self._loop.call_later(_AGAIN_SECONDS, self._lost)
                return
            if found is None:
                self.close()  # the supervisor is gone, and so are we in a moment
                return
            self._receive(*found)


def send(end: socket.socket, text: bytes, payload: bytes) -> None:
    """Send one message. Raises BlockingIOError when the other end has too many, OSError."""
    if not payload:
        end.send(text)
        return
    descriptor = sealed("message", payload)
    try:
        rights = _DESCRIPTOR.pack(descriptor)
        end.sendmsg([text or b" "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    finally:
        os.close(descriptor)


def send_sockets(end: socket.socket, message: Message, sockets: Sequence[socket.socket]) -> None:
    """Send a message with sockets. Raises BlockingIOError when the other end has too many, OSError."""
    text = json.dumps({**message, SOCKETS: len(sockets)}).encode()
    socket.send_fds(end, [text], [one.fileno() for one in sockets])


def receive(end: socket.socket) -> tuple[Message, bytes] | None:
    """Return the next message, and its payload; None: the other end is gone. Raises BlockingIOError, OSError."""
    room = socket.CMSG_SPACE(_MOST_SOCKETS * _DESCRIPTOR.size)
    text, ancillary, flags, _ = end.recvmsg(_LONGEST + 1, room, socket.MSG_CMSG_CLOEXEC)
    if not text:
        return None
    descriptors = [one for _, _, data in ancillary for (one,) in _DESCRIPTOR.iter_unpack(data)]
    if text.startswith(b"{") and descriptors and not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
        message = json.loads(text)
        if message.get(SOCKETS) == len(descriptors):
            message[SOCKETS] = [socket.socket(fileno=one) for one in descriptors]
            return message, b""
    if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC) or len(descriptors) > 1:
        for one in descriptors:
            os.close(one)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    payload = b"".join(map(unsealed, descriptors))
    if not text.strip():
        text, payload = payload, b""
    return json.loads(text), payload
