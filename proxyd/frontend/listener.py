"""A bound address: accepts connections and hands each to a callback."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from proxyd.config.values import ListenAddress

_log = logging.getLogger("proxyd.listener")
_BACKLOG = 4096
_BATCH = 64
_PAUSE = 0.5  # seconds without accepting when descriptors run out
#: Bytes of a response that wait in the kernel for one client. It would take megabytes of a large one, and a thousand
#: clients that read nothing all that it has for TCP; a small one over HTTP/2 waits behind them.
_MOST_UNSENT = 131_072
_TCP_NOTSENT_LOWAT = 25
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class ListenError(Exception):
    """The address cannot be used; the text says why and what to do."""


def bind(address: ListenAddress, *, key: str, copies: int = 1, shares: bool = False) -> list[list[socket.socket]]:
    """Return `copies` times the listening sockets for an address: two for both families. Raises ListenError.

    The first try is without SO_REUSEPORT: with it another program on the same port would go unnoticed. `shares`: we
    hold sockets on the port ourselves, see `shared`.
    """
    hosts = hosts_of(address)
    found: list[list[socket.socket]] = [[]]
    port, missing = address.port, None
    try:
        for host in list(hosts):
            try:
                found[0].append(_bind(host, port, key=key, written=address, shares=shares))
                port = found[0][0].getsockname()[1]
            except FamilyMissing as error:
                hosts.remove(host)  # a machine without IPv6, or IPv4, is not an error
                missing = error
        if not hosts and missing is not None:
            raise missing
        if copies > 1:
            _close(found)
            for _ in range(copies):
                found.append([])
                for host in hosts:
                    found[-1].append(_bind(host, port, key=key, written=address, shares=True))
            del found[0]
    except ListenError:
        _close(found)
        raise
    return found


def hosts_of(address: ListenAddress) -> list[str]:
    """Return the addresses of this machine that are meant."""
    return [address.host] if address.host is not None else ["0.0.0.0", "::"]


@contextmanager
def shared(sockets: Iterable[socket.socket]) -> Iterator[None]:
    """Let ports that these sockets of ours hold be bound again by us, for other addresses of the machine."""
    held = [(one, one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)) for one in sockets]
    try:
        for one, _ in held:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield
    finally:
        for one, before in held:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, before)


def _close(found: list[list[socket.socket]]) -> None:
    for sock in (sock for copy in found for sock in copy):
        sock.close()


def address_of(sock: socket.socket) -> str:
    """Return where a socket listens, as it is written."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_address_of(sock: socket.socket) -> tuple[str, int]:
    """Return where a client on this machine reaches a listening socket."""
    host, port = sock.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port


class FamilyMissing(ListenError):
    """The machine lacks IPv4, IPv6, or the address."""


def _bind(host: str, port: int, *, key: str, written: ListenAddress, shares: bool = False) -> socket.socket:
    sock: socket.socket | None = None
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        kind = FamilyMissing if error.errno in _NO_FAMILY else ListenError
        raise kind(f"{key}: cannot listen on {written}: {_explain(error, host, port)}") from error
    return sock


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"another program uses port {port}; `ss -ltnp 'sport = :{port}'` names it: stop it or choose another port"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"ports under 1024 need a right: run it as the systemd service, or give this user CAP_NET_BIND_SERVICE, "
            f"or choose a port from 1024 up ({error.strerror})"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; `ip address` lists them"
    return f"{error.strerror}"


class Listener:
    """Accepts on one socket while started. Pauses, and says so, when the process runs out of descriptors."""

    def __init__(self, sock: socket.socket, accepted: Callable[[socket.socket], None]) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _MOST_UNSENT)  # those that it accepts inherit it
        self._sock = sock
        self._accepted = accepted
        self._resume: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        return int(self._sock.getsockname()[1])

    def start(self) -> None:
        """Accept from now on."""
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def stop(self) -> None:
        """Accept what has come already, no more, and close the socket; harmless when it was stopped."""
        if self._sock.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._sock)
        if self._resume is not None:
            self._resume.cancel()
        else:
            self._accept()
        if self._resume is not None:
            self._resume.cancel()
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                sock, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # EMFILE, ENFILE, ENOBUFS: without a pause this would spin
                _log.error(
                    "cannot accept connections; pausing",
                    extra={"listen": address_of(self._sock), "reason": error.strerror, "next": "raise LimitNOFILE"},
                )
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._sock)
                self._resume = loop.call_later(_PAUSE, self.start)
                return
            sock.setblocking(False)
            self._accepted(sock)
