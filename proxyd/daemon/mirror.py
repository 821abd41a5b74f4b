"""What a process that serves knows of the certificates: which serve whom is told by the one that obtains them.

The news are names and fingerprints. The certificates themselves are read from the cache when they are first needed;
one that is not there is handed over, for that the cache could not keep it.
"""

import asyncio
import hashlib
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
#: A certificate: the fingerprint of its leaf, and the hosts whose files may hold it.
Reply = tuple[Any, bytes]
Reference = tuple[str, tuple[str, ...]]
References = tuple[Reference, ...]
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
        self._is_complete = False
        self._news: asyncio.Queue[Message | asyncio.Event] = asyncio.Queue()
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self._numbers = itertools.count(secrets.randbits(48))  # not those of a process before
        self._loading: dict[Hostname, asyncio.Future[None]] = {}
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
            first=lambda: next(iter(self._served), None),
        )

    def remember(self, served: Mapping[str, Any]) -> None:
        """Take what was served before this process began; the issuer may be away."""
        self._served = {Hostname(name): _references(written) for name, written in served.items() if written}

    def heard(self, message: Message, payload: bytes) -> None:
        """Take a message of the issuer: answers now, news in their order."""
        if "re" not in message:
            self._news.put_nowait(message)
        elif (waiting := self._asked.get(message["re"])) is not None and not waiting.done():
            waiting.set_result((message.get("answer"), payload))

    async def run(self) -> None:
        """Follow the news, for ever."""
        while True:
            news = await self._news.get()
            if isinstance(news, asyncio.Event):
                news.set()
                continue
            try:
                await self._follow(news)
            except Exception:  # noqa: BLE001 - the root of this task
                _log.exception("news of the process that obtains certificates could not be followed")

    # Handshakes

    async def _is_known(self, host: Hostname) -> bool:
        """Return whether everything is there that could serve a name, after a bounded time."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                if host not in self._served and not self._is_complete and self._is_ours(host):
                    if not (await self._ask({"ask": "read", "host": host.text}))[0]:
                        return False
                    await self._caught_up()
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
            await self._caught_up()
            return outcome if await self._is_known(host) else Outcome.LATER
        return outcome

    def _validated(self, name: Hostname, client: str, token: str) -> None:
        self._send({"hit": [name.text, client, token]})

    async def _ask(self, question: Message) -> Reply:
        """Return the answer and its payload, or None and nothing after a bounded time."""
        number = next(self._numbers)
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked[number] = waiting
        self._send({**question, "number": number})
        try:
            async with asyncio.timeout(_PATIENCE):
                return await waiting
        except TimeoutError:
            return None, b""
        finally:
            del self._asked[number]
            if not waiting.done() or waiting.cancelled():
                self._send({"forget": number})

    async def _caught_up(self) -> None:
        """Wait until the news that came before are followed."""
        done = asyncio.Event()
        self._news.put_nowait(done)
        await done.wait()

    # News

    async def _follow(self, news: Message) -> None:
        if "state" in news:
            self._is_complete = news["complete"]
            if self._is_complete:
                for host in self._served.keys() - {Hostname(name) for name in news["state"]}:
                    self._forget(host)
            self._self_check.key = bytes.fromhex(news["key"])
            self.is_told.set()
        if "challenges" in news:
            self._publish(news["challenges"])
        for name, written in (news.get("state") or news.get("serve") or {}).items():
            host = Hostname(name)
            if written:
                self._served[host] = _references(written)
                if self.table.certificate(host) is not None:
                    await self._load(host)
            else:
                self._forget(host)
        if "sync" in news:
            self._send({"synced": news["sync"]})

    def _forget(self, host: Hostname) -> None:
        self._served.pop(host, None)
        self.table.remove(host)

    def _publish(self, challenges: Mapping[str, Any]) -> None:
        self._board.only({(Hostname(host), token): answer for host, token, answer in challenges["http"]})
        self._challenges.only(
            {Hostname(host): (token, bytes.fromhex(digest)) for host, token, digest in challenges["tls"]}
        )

    # Certificates

    async def _load(self, host: Hostname) -> None:
        """Serve a name with what the news say, if it is not; who comes meanwhile waits for the same."""
        is_tried = False
        while (wanted := self._served.get(host)) is not None and not (is_tried or self._is_shown(host, wanted)):
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
            fields = {"host": host, "next": "look at the cache; what served before serves on"}
            _log.error("a certificate is neither in the cache nor handed over", extra=fields)
        try:
            await self.table.change(host, lambda _: found)
        except OSError as error:  # ssl.SSLError is an OSError
            _log.error("a certificate cannot serve", extra={"host": host, "reason": str(error)})
        if host not in self._served:  # removed while its context was built
            self.table.remove(host)
        return self._served.get(host) == wanted

    def _is_shown(self, host: Hostname, wanted: References) -> bool:
        return {fingerprint(one) for one in self.table.certificates(host)} == {leaf for leaf, _ in wanted}

    async def _certificate(self, host: Hostname, reference: Reference) -> Certificate | None:
        if (found := await asyncio.to_thread(self._kept, reference)) is not None:
            return found
        _, pem = await self._ask({"ask": "hand", "host": host.text, "leaf": reference[0]})
        return _parsed(pem, reference[0])

    def _kept(self, reference: Reference) -> Certificate | None:
        """Return what the cache has. Blocks."""
        leaf, hosts = reference
        for key in dict.fromkeys(live_file(Hostname(host), family) for host in hosts for family in _FAMILIES):
            try:
                pem = self._store.load(key)
            except StoreError:
                continue
            if pem is not None and (found := _parsed(pem, leaf)) is not None:
                return found
        return None


def fingerprint(certificate: Certificate) -> str:
    """Return what tells a certificate from all others."""
    return hashlib.sha256(certificate.leaf).hexdigest()


def _references(written: Iterable[Any]) -> References:
    return tuple((leaf, tuple(hosts)) for leaf, hosts in written)


def _parsed(pem: bytes, leaf: str) -> Certificate | None:
    try:
        certificate = Certificate.parse(pem)
    except InvalidCertificate:
        return None
    return certificate if fingerprint(certificate) == leaf else None
