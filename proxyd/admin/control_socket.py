"""The control socket: a line of JSON in, lines of JSON out, for root and the daemon's own user only."""

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyd.admin.control_address import SocketTaken, bind, identity

_log = logging.getLogger("proxyd.control")
_MAX_REQUEST = 64 << 10
_MAX_CONNECTIONS = 16
_REQUEST_SECONDS = 5.0
_WRITE_SECONDS = 30.0
_ANSWER_SECONDS = 3600.0
_UCRED = struct.Struct("3i")

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command asks. `uid`: of the process at the other end, by the kernel."""

    command: str
    arguments: Document
    cache: str | None
    uid: int


class Refused(Exception):
    """The request cannot be done; `status` is the command's exit status."""

    def __init__(self, message: str, *, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


Tell = Callable[[Document], Awaitable[None]]
#: Returns the answer; what it tells before arrives as progress. Raises Refused.
Answers = Callable[[Request, Tell], Awaitable[Document]]


class ControlSocket:
    """Listens at the first of the places that can be had. Trouble with it is logged and never reaches the serving."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._path: Path | None = None
        self._socket: socket.socket | None = None
        self._identity: tuple[int, int] | None = None
        self._open = 0

    def listen(self, places: list[Path]) -> None:
        """Bind. Blocks on the disk for a moment; never raises OSError."""
        reasons = []
        for path in places:
            try:
                self._socket, self._path = bind(path), path
            except OSError as error:
                missing = isinstance(error, FileNotFoundError | NotADirectoryError)
                if not missing or path == places[-1]:
                    reasons.append(str(error) if isinstance(error, SocketTaken) else f"{path}: {error.strerror}")
            else:
                self._identity = identity(path)
                _log.info("control socket", extra={"path": path})
                return
        _log.warning(
            "no control socket: `proxyd status` and the like will not reach this daemon; it serves all the same",
            extra={"reason": "; ".join(reasons) or "no place"},
        )

    async def run(self) -> None:
        """Answer for ever. Ends only by cancellation."""
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    try:
                        sock, _ = await loop.sock_accept(self._socket)
                    except OSError as error:  # out of descriptors: the next second may have one
                        _log.warning("control socket: not accepted", extra={"reason": error.strerror})
                        await asyncio.sleep(1)
                        continue
                    group.create_task(self._guarded(sock))
        finally:
            self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            if self._path is not None and self._identity is not None and identity(self._path) == self._identity:
                self._path.unlink(missing_ok=True)

    async def _guarded(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._open += 1
        try:
            with sock:
                await self._serve(sock)
        except (OSError, TimeoutError) as error:
            _log.debug("control connection broke off", extra={"reason": str(error)})
        except Exception:  # noqa: BLE001 - the root of this task: an error that left it would end the daemon
            _log.exception("a control command failed; this is a bug of proxyd")
        finally:
            self._open -= 1

    async def _serve(self, sock: socket.socket) -> None:
        uid = _peer_uid(sock)
        if uid not in (0, os.geteuid()):
            _log.warning("control connection refused", extra={"uid": uid})
            await _send(sock, {"error": "only root and the user of the daemon may ask it", "status": 3})
        elif self._open > _MAX_CONNECTIONS:
            await _send(sock, {"error": f"{_MAX_CONNECTIONS} commands are being served: try again", "status": 3})
        else:
            try:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    request = _parse(await _read_line(sock), uid)
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._answer(sock, request)
            except Refused as refused:
                await _send(sock, {"error": str(refused), "status": refused.status})
            except TimeoutError:
                await _send(sock, {"error": "no request came in time, or its answer took too long", "status": 3})
            except Exception as error:
                await _send(sock, {"error": f"the daemon failed: {type(error).__name__}, see its log", "status": 3})
                raise

    async def _answer(self, sock: socket.socket, request: Request) -> None:
        _log.debug("control command", extra={"command": request.command, "uid": request.uid})
        turn = asyncio.Lock()  # steps of several hosts must not be mixed within a line

        async def tell(step: Document) -> None:
            async with turn:
                await _send(sock, {"progress": step})

        answer = await self._answers(request, tell)
        await _send(sock, {"answer": answer})


async def _read_line(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    received = b""
    while b"\n" not in received:
        if len(received) > _MAX_REQUEST:
            raise Refused(f"a request has at most {_MAX_REQUEST} bytes")
        data = await loop.sock_recv(sock, 16 << 10)
        if not data:
            raise Refused("a request is one line of JSON")
        received += data
    return received.partition(b"\n")[0]


def _parse(line: bytes, uid: int) -> Request:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("command"), str):
        raise Refused("a request is one line of JSON with a command")
    arguments, cache = document.get("arguments"), document.get("cache")
    return Request(
        command=document["command"],
        arguments=arguments if isinstance(arguments, dict) else {},
        cache=cache if isinstance(cache, str) else None,
        uid=uid,
    )


async def _send(sock: socket.socket, document: Document) -> None:
    content = await asyncio.to_thread(lambda: json.dumps(document).encode() + b"\n")  # 10,000 hosts are megabytes
    async with asyncio.timeout(_WRITE_SECONDS):
        await asyncio.get_running_loop().sock_sendall(sock, content)


def _peer_uid(sock: socket.socket) -> int:
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)
