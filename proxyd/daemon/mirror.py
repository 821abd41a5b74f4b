"""What a process that serves knows of the certificates: which serve whom is told by the one that obtains them.

The news are names and digests. The certificates themselves are read from the cache when they are first needed;
one that is not there is handed over: the cache could not keep it, or it is from files that only the issuer reads.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.key_family import KeyFamily
from proxyd.daemon.channel import Message
from proxyd.daemon.serving import Source
from proxyd.issuance.challenge_board import ChallengeBoard
from proxyd.issuance.on_demand import Outcome
from proxyd.issuance.self_check import SelfCheck
from proxyd.store.directory import DirectoryStore
from proxyd.store.live_file import live_file
from proxyd.store.store import StoreError
from proxyd.tls.certificate_table import CertificateTable
from proxyd.tls.challenge_table import ChallengeTable

_log = logging.getLogger("proxyd.worker")
#: A handshake does not wait longer, whoever is asked: the client does not either.
_PATIENCE = 25.0
_READ_SECONDS = 10.0
_AGAIN_SECONDS = 2.0
#: A certificate: its digest, and the hosts whose files may hold it.
Reference = tuple[str, tuple[str, ...]]
References = tuple[Reference, ...]
#: An answer and its payload.
Reply = tuple[Any, bytes]
_FAMILIES: tuple[KeyFamily, ...] = ("ec", "rsa")


class Mirror:
    """Follows the process that obtains certificates. `send` gives it a message.

    `is_ours` tells whether the configuration has a name: about others nobody is asked.
    """

    def __init__(
        self, cache: Path, *, send: Callable[[Message], None], is_ours: Callable[[Hostname], bool], clock: Clock
    ) -> None:
        self.table = CertificateTable()
        self._store = DirectoryStore(cache, clock=clock, only_looks=True)
        self._send = send
        self._is_ours = is_ours
        self._board = ChallengeBoard()
        self._challenges = ChallengeTable(clock=clock, arrived=self._validated)
        self._self_check = SelfCheck(clock=clock)
        self._served: dict[Hostname, References] = {}
        self._renewals: dict[Hostname, int] = {}
        self._is_complete = False
        self._asked: dict[int, tuple[Message, asyncio.Future[Reply]]] = {}
        self._numbers = itertools.count(secrets.randbits(48))  # not those of a process before
        self._loading: dict[Hostname, asyncio.Future[None]] = {}
        #: Served with something else than the news say.
        self._stale: set[Hostname] = set()
        self._refreshing: set[Hostname] = set()
        self._wants_refresh = asyncio.Event()
        self._unpublished: Mapping[str, Any] | None = None
        self._sync: int | None = None
        self.is_told = asyncio.Event()

    def source(self) -> Source:
        """Return what clients are served with."""
        return Source(
            table=self.table,
            challenges=self._challenges,
            board=self._board,
            cache_read=self._is_known,
            obtain=self._obtain,
            arrived=lambda host, *what: self._send({"hit": [host.text, *what]}),
            nonce=self._self_check.answer,
            renewals=lambda host: self._renewals.get(host, 0),
        )

    def remember(self, served: Mapping[str, Any]) -> None:
        """Take what was served before this process began; the issuer may be away."""
        self._served = {Hostname(name): _references(written) for name, written in served.items() if written}

    def heard(self, message: Message, payload: bytes) -> None:
        """Take a message of the issuer: an answer, or news."""
        if "re" not in message:
            self._follow(message)
        elif (asked := self._asked.get(message["re"])) is not None and not asked[1].done():
            asked[1].set_result((message.get("answer"), payload))

    def ask_again(self) -> None:
        """Put the questions again that nobody has answered: the issuer is a new one, or an answer was lost."""
        for question, _ in self._asked.values():
            self._send(question)

    async def run(self) -> None:
        """Replace what serves when the news say so, again and again where that fails, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wants_refresh.wait()
                self._wants_refresh.clear()
                self._publish()
                for host in self._stale - self._refreshing:
                    self._refreshing.add(host)
                    tasks.create_task(self._refresh(host))
                self._acknowledge()

    # Handshakes

    async def _is_known(self, host: Hostname) -> bool:
        """Return whether everything is there that could serve a name, after a bounded time."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                is_unknown = host not in self._served and not self._is_complete and self._is_ours(host)
                if is_unknown and not (await self._ask({"ask": "read", "host": host.text}))[0]:
                    return False
                await self._load(host)
        except TimeoutError:
            return False
        return True

    async def _obtain(self, server_name: str | None, client: str) -> Outcome:
        host = Hostname.from_wire(server_name) if server_name else None
        if host is None or not self._is_ours(host):
            return Outcome.UNKNOWN
        answer, _ = await self._ask({"ask": "obtain", "host": server_name, "client": client})
        outcome = Outcome(answer) if answer else Outcome.LATER
        if outcome is Outcome.SERVED:
            return outcome if await self._is_known(host) else Outcome.LATER
        return outcome

    def _validated(self, name: Hostname, client: str, token: str) -> None:
        self._send({"hit": [name.text, client, token]})

    async def _ask(self, question: Message) -> Reply:
        """Return the answer and its payload, or None and nothing after a bounded time."""
        number = next(self._numbers)
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        numbered = {**question, "number": number}
        self._asked[number] = numbered, waiting
        self._send(numbered)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await waiting
        except TimeoutError:
            return None, b""
        finally:
            del self._asked[number]
            if not waiting.done() or waiting.cancelled():
                self._send({"forget": number})

    # News

    def _follow(self, news: Message) -> None:
        if "state" in news:
            self._is_complete = news["complete"]
            if self._is_complete:
                for host in self._served.keys() - {Hostname(name) for name in news["state"]}:
                    self._forget(host)
            self._self_check.key = bytes.fromhex(news["key"])
        if "renewals" in news:
            self._renewals |= {Hostname(name): int(count) for name, count in news["renewals"].items()}
        if "challenges" in news:
            self._unpublished = news["challenges"]
        for name, written in (news.get("state") or news.get("serve") or {}).items():
            host = Hostname(name)
            if not written:
                self._forget(host)
                continue
            self._served[host] = _references(written)
            if self.table.certificate(host) is not None and not self._is_shown(host):
                self._stale.add(host)
        self._sync = news.get("sync", self._sync)
        self._publish()
        if self._stale or self._unpublished is not None:
            self._wants_refresh.set()
        self._acknowledge()
        if "state" in news:
            self.is_told.set()

    def _acknowledge(self) -> None:
        """Say that the news are followed, when they are."""
        if self._sync is not None and not self._stale and self._unpublished is None:
            self._send({"synced": self._sync})
            self._sync = None

    def _forget(self, host: Hostname) -> None:
        self._served.pop(host, None)
        self._stale.discard(host)
        self.table.remove(host)

    def _publish(self) -> None:
        if self._unpublished is None:
            return
        http, tls = self._unpublished["http"], self._unpublished["tls"]
        try:
            self._board.only({(Hostname(host), token): answer for host, token, answer in http})
            self._challenges.only({Hostname(host): (token, bytes.fromhex(digest)) for host, token, digest in tls})
        except OSError as error:  # a context needs a descriptor
            _log.error("a challenge cannot be answered yet: tried again", extra={"reason": str(error)})
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._wants_refresh.set)
        else:
            self._unpublished = None

    async def _refresh(self, host: Hostname) -> None:
        """Serve what the news say in the place of what serves."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                await self._load(host)
        except TimeoutError:
            pass
        except Exception:  # noqa: BLE001 - the root of this task
            _log.exception("a certificate could not be loaded in an unforeseen way", extra={"host": host})
        self._refreshing.discard(host)
        if host in self._stale and (host not in self._served or self._is_shown(host)):
            self._stale.discard(host)
            self._acknowledge()
        elif host in self._stale:
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._wants_refresh.set)

    # Certificates

    async def _load(self, host: Hostname) -> None:
        """Serve a name with what the news say, if it is not; who comes meanwhile waits for the same."""
        is_tried = False
        while (wanted := self._served.get(host)) is not None and not (is_tried or self._is_shown(host)):
            if (other := self._loading.get(host)) is not None:
                await asyncio.shield(other)
                continue
            done = self._loading[host] = asyncio.get_running_loop().create_future()
            try:
                is_tried = await self._show(host, wanted)
            finally:
                del self._loading[host]
                done.set_result(None)

    async def _show(self, host: Hostname, wanted: References) -> bool:
        """Return false when the news changed meanwhile."""
        found = [one for reference in wanted if (one := await self._certificate(host, reference))]
        if self._served.get(host) != wanted:
            return False
        if len(found) < len(wanted):
            fields = {"host": host, "next": "look at the cache and at the files that may be open; it is tried again"}
            _log.error("a certificate is neither in the cache nor handed over: what served serves on", extra=fields)
            self._stale.add(host)

        def shown(before: tuple[Certificate, ...]) -> list[Certificate]:
            families = {one.family for one in found}
            kept = [one for one in before if len(found) < len(wanted) and one.family not in families]
            return sorted([*found, *kept], key=lambda one: one.family)

        try:
            await self.table.change(host, shown)
        except OSError as error:  # ssl.SSLError is an OSError
            _log.error("a certificate cannot serve: what served serves on", extra={"host": host, "reason": str(error)})
            self._stale.add(host)
        if host not in self._served:  # removed while its context was built
            self.table.remove(host)
        return self._served.get(host) == wanted

    def _is_shown(self, host: Hostname) -> bool:
        wanted = {digest for digest, _ in self._served.get(host, ())}
        return {one.digest for one in self.table.certificates(host)} == wanted

    async def _certificate(self, host: Hostname, reference: Reference) -> Certificate | None:
        if (found := await asyncio.to_thread(self._kept, reference)) is not None:
            return found
        _, pem = await self._ask({"ask": "hand", "host": host.text, "digest": reference[0]})
        return _parsed(pem, reference[0])

    def _kept(self, reference: Reference) -> Certificate | None:
        """Return what the cache has. Blocks."""
        digest, hosts = reference
        for key in dict.fromkeys(live_file(Hostname(host), family) for host in hosts for family in _FAMILIES):
            try:
                pem = self._store.load(key)
            except StoreError:
                continue
            if pem is not None and (found := _parsed(pem, digest)) is not None:
                return found
        return None


def _references(written: Iterable[Any]) -> References:
    return tuple((digest, tuple(hosts)) for digest, hosts in written)


def _parsed(pem: bytes, digest: str) -> Certificate | None:
    try:
        certificate = Certificate.parse(pem)
    except InvalidCertificate:
        return None
    return certificate if certificate.digest == digest else None
