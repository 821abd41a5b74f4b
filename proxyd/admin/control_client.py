"""How a command asks the daemon. Blocks: commands have nothing else to do."""

import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from proxyd.admin.control_address import OTHER_CACHE, connect

_CONNECT_SECONDS = 5.0
_MAX_LINE = 256 << 20

Document = Mapping[str, Any]


class Unreachable(Exception):
    """No daemon answers; the text says where it was looked for. `is_denied`: one may be there, for other users."""

    def __init__(self, message: str, *, is_denied: bool) -> None:
        super().__init__(message)
        self.is_denied = is_denied


class BrokenOff(Unreachable):
    """A daemon took the request, and ended or closed the connection without an answer."""


class CommandRefused(Exception):
    """The daemon says no; `status` is the exit status for it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def ask(
    places: list[Path],
    command: str,
    arguments: Document,
    *,
    cache: Path | None = None,
    progress: Callable[[Document], None] = lambda _: None,
    silence: float = 900.0,
) -> Document:
    """Return the answer of the daemon that keeps `cache` (None: of any). Raises Unreachable, CommandRefused, BrokenOff.

    `silence`: seconds that the daemon may take between two lines.
    """
    line = json.dumps(
        {"command": command, "arguments": arguments, "cache": str(cache.resolve()) if cache else None}
    ).encode()
    reasons, is_denied, broke_off = [], False, False
    for place in places:
        try:
            with connect(place, timeout=_CONNECT_SECONDS) as sock:
                sock.settimeout(silence)
                return _exchange(sock, line + b"\n", progress)
        except CommandRefused as refused:
            if refused.status != OTHER_CACHE:
                raise
            reasons.append(f"{place}: {refused}")
        except _NoAnswer as error:
            broke_off = True
            reasons.append(f"{place}: {error}")
        except OSError as error:
            is_denied = is_denied or isinstance(error, PermissionError)
            reasons.append(f"{place}: {error.strerror or error}")
    kind = BrokenOff if broke_off else Unreachable
    raise kind("no daemon answers (" + "; ".join(reasons) + ")", is_denied=is_denied)


class _NoAnswer(Exception):
    pass


def _exchange(sock: socket.socket, line: bytes, progress: Callable[[Document], None]) -> Document:
    with contextlib.suppress(
        BrokenPipeError, ConnectionResetError
    ):  # refused before it was read: the reason is there to be read
        sock.sendall(line)
    with sock.makefile("rb") as lines:
        while received := _next(lines):
            try:
                document = json.loads(received)
            except ValueError:
                break
            match document:
                case {"progress": dict(step)}:
                    progress(step)
                case {"answer": dict(answer)}:
                    return answer
                case {"error": str(message), "status": int(status)}:
                    raise CommandRefused(message, status)
                case _:
                    break
    raise _NoAnswer("it broke off without an answer")


def _next(lines: BinaryIO) -> bytes:
    try:
        return lines.readline(_MAX_LINE)
    except ConnectionError:
        return b""
