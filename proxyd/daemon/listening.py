"""The sockets that clients reach us by: those that systemd passed in, and those that we bind."""

import errno
import logging
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxyd.config.model import ListenOptions
from proxyd.config.values import ListenAddress
from proxyd.daemon.systemd import Passed, forget, keep, passed_sockets
from proxyd.frontend.listener import FamilyMissing, ListenError, address_of, bind, hosts_of, local_address_of, shared

_log = logging.getLogger("proxyd.daemon")
#: The workers of a supervisor that was killed end a moment after it.
_AGAIN_SECONDS, _PAUSE = 1.0, 0.05
#: What the names of sockets begin with that systemd keeps for us; those of socket units have other names.
_KEPT = "proxyd bound "
_KINDS = ("https", "http")

#: What a socket is for, where it listens, and which of several there: the same for its copy in each worker.
Place = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """What one process accepts from."""

    https: Sequence[socket.socket] = ()
    http: Sequence[socket.socket] = ()

    @property
    def https_at(self) -> tuple[str, int] | None:
        """Return where a client on this machine reaches us by TLS."""
        return local_address_of(self.https[0]) if self.https else None

    def by_place(self) -> dict[Place, socket.socket]:
        """Return each with its place."""
        found: dict[Place, socket.socket] = {}
        for kind in _KINDS:
            seen: Counter[Place] = Counter()
            for sock in getattr(self, kind):
                at = sock.getsockname()[:2]
                found[kind, *at, seen[at]] = sock
                seen[at] += 1
        return found

    @classmethod
    def at(cls, places: Mapping[Place, socket.socket]) -> "Sockets":
        """Return what has `places` by_place."""
        https, http = ([sock for (of, *_), sock in places.items() if of == kind] for kind in _KINDS)
        return cls(https=https, http=http)

    def all(self) -> Iterator[socket.socket]:
        yield from self.https
        yield from self.http

    def close(self) -> None:
        """Close them all."""
        for sock in self.all():
            sock.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What listens for one address of the configuration; `copies`: the sockets of each worker.

    `is_passed`: they are those of socket units, which systemd has anyway.
    """

    kind: str
    address: ListenAddress
    copies: Sequence[Sequence[socket.socket]]
    is_passed: bool = False

    def at(self, place: tuple[str, int]) -> list[list[socket.socket]]:
        """Return those of each worker at one address of the machine."""
        return [[sock for sock in sockets if sock.getsockname()[:2] == place] for sockets in self.copies]

    def has(self, place: tuple[str, int]) -> bool:
        return any(self.at(place))

    @property
    def is_whole(self) -> bool:
        """Return whether it listens on all addresses of the machine that are meant; port 0 is another for each."""
        port = self.address.port
        return port == 0 or all(self.has((host, port)) for host in hosts_of(self.address))

    def all(self) -> Iterator[socket.socket]:
        for sockets in self.copies:
            yield from sockets


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """All that we listen on, for `workers` processes. `passed`: all of socket units, named or not: they stay."""

    bindings: Sequence[Binding] = ()
    passed: Sequence[socket.socket] = ()
    workers: int = 1

    def sockets(self, number: int = 0) -> Sockets:
        """Return those of one worker."""
        https, http = (
            [sock for one in self.bindings if one.kind == kind for sock in one.copies[number]] for kind in _KINDS
        )
        return Sockets(https=https, http=http)

    def all(self) -> set[socket.socket]:
        """Return every socket."""
        return {*self.passed, *(sock for one in self.bindings for sock in one.all())}

    def close(self, *, but: "Listening | None" = None) -> None:
        """Close every socket, but for those of another."""
        for sock in self.all() - (but.all() if but is not None else set()):
            sock.close()

    def keep(self, *, instead_of: "Listening") -> None:
        """Have systemd keep what we bound, and give up what only another had: clients would wait there for nobody."""
        before, now = instead_of._kept(), self._kept()
        for name in [name for name in before if now.get(name) != before[name]]:
            forget(name)  # first: a socket that it has already keeps the name that it has
        for name in [name for name in now if now[name] != before.get(name)]:
            keep(name, [*now[name]])

    def _kept(self) -> dict[str, set[socket.socket]]:
        found: defaultdict[str, set[socket.socket]] = defaultdict(set)
        for one in self.bindings:
            if not one.is_passed:
                found[_name(one.address)].update(one.all())
        return found

    def changed(self, listen: ListenOptions, *, patience: float = 0.0) -> "Listening":
        """Return what listens on the addresses of `listen`. Raises ListenError; nothing of ours is closed either way.

        What we bind each worker has for its own (SO_REUSEPORT), so that what waits at one is not lost with another;
        what was passed in is shared by all of them. `patience`: seconds for a port that is taken to become free.
        """
        left = [*self.bindings]
        wanted: list[Binding | tuple[str, ListenAddress]] = []
        for kind in _KINDS:
            for address in getattr(listen, kind):
                kept = next((one for one in left if (one.kind, one.address) == (kind, address)), None)
                if kept is not None:
                    left.remove(kept)
                wanted.append(kept or (kind, address))
        made: list[Binding] = []
        try:
            for one in wanted:
                made.append(one if isinstance(one, Binding) else self._bound(*one, [*self.bindings, *made], patience))
        except BaseException:
            Listening(bindings=made).close(but=self)
            raise
        return Listening(bindings=made, passed=self.passed, workers=self.workers)

    def made_whole(self) -> "Listening":
        """Return it with the families that the machine lacked before. Raises ListenError; nothing of ours is closed."""
        made: list[Binding] = []
        try:
            made.extend(
                one if one.is_whole else self._bound_now(one.kind, one.address, self.bindings) for one in self.bindings
            )
        except BaseException:
            Listening(bindings=made).close(but=self)
            raise
        return Listening(bindings=made, passed=self.passed, workers=self.workers)

    def _bound(self, kind: str, address: ListenAddress, ours: Sequence[Binding], patience: float) -> Binding:
        if passed := [sock.dup() for sock in self.passed if _is_at(sock, address)]:
            return Binding(kind=kind, address=address, copies=[passed] * self.workers, is_passed=True)
        deadline = time.monotonic() + patience
        while True:
            try:
                return self._bound_now(kind, address, ours)
            except ListenError as error:
                is_taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
                if not is_taken or time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE)

    def _bound_now(self, kind: str, address: ListenAddress, ours: Sequence[Binding]) -> Binding:
        """Bind, beside what we hold on the same port until now; what listens at the same place is taken over."""
        key, hosts = f"listen.{kind}", hosts_of(address)
        if not any(_excludes(sock, host, address.port) for host in hosts for one in ours for sock in one.all()):
            return Binding(kind=kind, address=address, copies=bind(address, key=key, copies=self.workers))
        copies: list[list[socket.socket]] = [[] for _ in range(self.workers)]
        try:
            for host in hosts:
                for copy, sockets in zip(copies, self._at(kind, host, address, ours), strict=True):
                    copy += sockets
        except ListenError:
            Listening(bindings=[Binding(kind=kind, address=address, copies=copies)]).close(
                but=Listening(bindings=[*ours])
            )
            raise
        return Binding(kind=kind, address=address, copies=copies)

    def _at(
        self, kind: str, host: str, address: ListenAddress, ours: Sequence[Binding]
    ) -> Sequence[Sequence[socket.socket]]:
        """Return the sockets of each worker at one address of the machine; none: it lacks that family."""
        place, key = (host, address.port), f"listen.{kind}"
        there = next((one for one in ours if one.has(place)), None)
        if there is not None and there.kind != kind:
            raise ListenError(
                f"{key}: cannot listen on {address}: it is listen.{there.kind} until now, and for a moment clients "
                "would reach the wrong one: restart the daemon instead"
            )
        if there is not None:
            return there.at(place)
        beside = [sock for one in ours for sock in one.all() if _excludes(sock, *place)]
        try:
            with shared(beside):
                return bind(ListenAddress(*place), key=key, copies=self.workers, shares=bool(beside))
        except FamilyMissing:
            if address.host is not None:
                raise
            return [[]] * self.workers


def bound(listen: ListenOptions, *, workers: int = 1) -> Listening:
    """Return what we listen on at the start, of systemd's sockets and of those that we bind. Raises ListenError.

    systemd keeps what we bind: what waits there while nobody runs is served by who comes next.
    """
    kept, passed = _of_systemd(passed_sockets())
    first = Listening(
        bindings=[
            Binding(kind=kind, address=address, copies=_dealt(kept.pop(name), workers))
            for kind in _KINDS
            for address in getattr(listen, kind)
            if (name := _name(address)) in kept
        ],
        passed=passed,
        workers=workers,
    )
    _give_up(kept)  # first of all: new addresses may overlap with them
    try:
        first = _whole(first)
        found = first.changed(listen, patience=_AGAIN_SECONDS)
    except BaseException:
        first.close()
        raise
    found.keep(instead_of=Listening())
    named = {sock.getsockname() for sock in found.sockets().all()}
    for sock in (one for one in passed if one.getsockname() not in named):
        _log.warning(
            "systemd passed a socket that listen does not name: nobody is served there",
            extra={"address": address_of(sock), "next": "name it in listen, or remove it from the socket unit"},
        )
    return found


def _whole(kept: Listening) -> Listening:
    """Return it with the families that the machine lacked before, or as it is where that cannot be: the rest serves."""
    try:
        return kept.made_whole()
    except ListenError as error:
        _log.warning(
            "clients are served by one of IPv4 and IPv6 only",
            extra={"reason": str(error), "next": "free the port, then restart the daemon"},
        )
        return kept


def log_listening(sockets: Sockets) -> None:
    """Tell where clients reach us."""
    for name, group in (("https", sockets.https), ("http", sockets.http)):
        addresses = ", ".join(map(address_of, group)) or "nothing"
        _log.info("listening", extra={"on": name, "address": addresses})


def _of_systemd(passed: Sequence[Passed]) -> tuple[dict[str, list[socket.socket]], list[socket.socket]]:
    """Return what it kept for us, by name, and the sockets of its units."""
    kept: defaultdict[str, list[socket.socket]] = defaultdict(list)
    for one in passed:
        if one.name.startswith(_KEPT):
            kept[one.name].append(one.sock)
    return kept, [one.sock for one in passed if not one.name.startswith(_KEPT)]


def _give_up(kept: Mapping[str, Sequence[socket.socket]]) -> None:
    """Have nobody listen any more at addresses that are written no more."""
    for name, sockets in kept.items():
        forget(name)
        for sock in sockets:
            sock.close()


def _name(address: ListenAddress) -> str:
    return _KEPT + str(address).replace(":", "_")  # a name may have no colon


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


def _is_at(sock: socket.socket, address: ListenAddress) -> bool:
    host, port = sock.getsockname()[:2]
    return port == address.port and (address.host is None or address.host == host)


def _excludes(sock: socket.socket, host: str, port: int) -> bool:
    """Return whether nobody else could listen at a place while this socket does."""
    at, of = sock.getsockname()[:2]
    is_same_family = (":" in at) == (":" in host)
    return port == of and (at == host or (is_same_family and bool({at, host} & {"0.0.0.0", "::"})))
