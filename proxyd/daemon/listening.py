"""The sockets that clients reach us by: those that systemd passed in, and those that we bind."""

import errno
import logging
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxyd.config.model import ListenOptions
from proxyd.config.values import ListenAddress
from proxyd.daemon.systemd import Passed, forget, keep, passed_sockets
from proxyd.frontend.listener import ListenError, address_of, bind, local_address_of

_log = logging.getLogger("proxyd.daemon")
#: The workers of a supervisor that was killed end a moment after it.
_AGAIN_SECONDS, _PAUSE = 1.0, 0.05
#: What the names of sockets begin with that systemd keeps for us; those of socket units have other names.
_KEPT = "proxyd bound "


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """What one process accepts from."""

    https: Sequence[socket.socket] = ()
    http: Sequence[socket.socket] = ()

    @property
    def https_at(self) -> tuple[str, int] | None:
        """Return where a client on this machine reaches us by TLS."""
        return local_address_of(self.https[0]) if self.https else None

    def all(self) -> Iterator[socket.socket]:
        yield from self.https
        yield from self.http

    def close(self) -> None:
        """Close them all."""
        for sock in self.all():
            sock.close()


def bound(listen: ListenOptions, *, workers: int = 1) -> list[Sockets]:
    """Return the sockets of each worker. Raises ListenError.

    Those of socket units are shared by all workers; of what we bind each has its own (SO_REUSEPORT), so that what waits
    at one is not lost with another. systemd keeps what we bind: what waits there while nobody runs is served by who
    comes next.
    """
    passed = _still_written(passed_sockets(), listen)
    try:
        https = [_bound(one, passed, key="listen.https", copies=workers) for one in listen.https]
        http = [_bound(one, passed, key="listen.http", copies=workers) for one in listen.http]
    except BaseException:
        for one in passed:
            one.sock.close()
        raise
    for one in passed:
        address = address_of(one.sock)
        _log.warning("systemd passed a socket that listen does not name: it is closed", extra={"address": address})
        one.sock.close()
    return [
        Sockets(
            https=[sock for copies in https for sock in copies[number]],
            http=[sock for copies in http for sock in copies[number]],
        )
        for number in range(workers)
    ]


def log_listening(sockets: Sockets) -> None:
    """Tell where clients reach us."""
    for name, group in (("https", sockets.https), ("http", sockets.http)):
        addresses = ", ".join(map(address_of, group)) or "nothing"
        _log.info("listening", extra={"on": name, "address": addresses})


def _still_written(passed: Sequence[Passed], listen: ListenOptions) -> list[Passed]:
    """Give up what was kept of addresses that are written no more: new ones may overlap with them."""
    wanted = {_name(one) for one in (*listen.https, *listen.http)}
    gone = [one for one in passed if one.name.startswith(_KEPT) and one.name not in wanted]
    for one in gone:
        one.sock.close()
    for name in {one.name for one in gone}:
        forget(name)
    return [one for one in passed if one not in gone]


def _name(address: ListenAddress) -> str:
    return _KEPT + str(address).replace(":", "_")  # a name may have no colon


def _bound(address: ListenAddress, passed: list[Passed], *, key: str, copies: int) -> list[list[socket.socket]]:
    name = _name(address)
    if kept := [one for one in passed if one.name == name]:
        found = _dealt([one.sock for one in kept], copies)
    elif ours := [one for one in passed if not one.name.startswith(_KEPT) and _is_at(one.sock, address)]:
        for one in ours:
            passed.remove(one)
        return [[one.sock for one in ours]] * copies
    else:
        found = _bound_anew(address, key=key, copies=copies)
    for one in kept:
        passed.remove(one)
    keep(name, list({sock for group in found for sock in group}))
    return found


def _dealt(socks: Sequence[socket.socket], copies: int) -> list[list[socket.socket]]:
    """Give each worker one socket for each address, or several: at none may clients wait for nobody."""
    found: list[list[socket.socket]] = [[] for _ in range(copies)]
    same: defaultdict[object, list[socket.socket]] = defaultdict(list)
    for sock in socks:
        same[sock.getsockname()].append(sock)
    for group in same.values():
        for place in range(max(copies, len(group))):
            found[place % copies].append(group[place % len(group)])
    return found


def _bound_anew(address: ListenAddress, *, key: str, copies: int) -> list[list[socket.socket]]:
    deadline = time.monotonic() + _AGAIN_SECONDS
    while True:
        try:
            return bind(address, key=key, copies=copies)
        except ListenError as error:
            is_taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if not is_taken or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def _is_at(sock: socket.socket, address: ListenAddress) -> bool:
    host, port = sock.getsockname()[:2]
    return port == address.port and (address.host is None or address.host == host)
