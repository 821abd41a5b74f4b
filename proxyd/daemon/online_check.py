"""`proxyd check --online`: what the world sees of each host. Advice, never a verdict."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from proxyd.config.acme import AcmeOptions
from proxyd.config.ca_bundle import CaBundleError
from proxyd.config.model import Config
from proxyd.core.caa import permits
from proxyd.core.clock import Clock
from proxyd.core.counters import Counters
from proxyd.core.failure import IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.core.name_view import NameView, Port80
from proxyd.core.networks import Networks
from proxyd.core.preflight import findings
from proxyd.daemon.authorities import ca_context, caa_identities
from proxyd.daemon.durability import durability
from proxyd.daemon.names import self_check_key, vantage
from proxyd.daemon.shown_certificate import shown_certificate
from proxyd.daemon.slow import told_if_slow
from proxyd.frontend.arrival import ArrivalGate
from proxyd.frontend.arriving import Arriving
from proxyd.frontend.h1 import H1Frontend
from proxyd.frontend.listener import Listener, ListenError, bind
from proxyd.frontend.plain import PlainFrontend
from proxyd.frontend.plain_handler import PlainHandler
from proxyd.frontend.seats import Seats
from proxyd.issuance.acme_transport import AcmeTransport
from proxyd.issuance.name_look import NameLook
from proxyd.issuance.resolver import Resolver
from proxyd.issuance.self_check import SelfCheck
from proxyd.proxy.date_line import DateLine
from proxyd.proxy.traffic import Traffic
from proxyd.store.directory import PRIVATE

_AT_ONCE = 8
_CA_SECONDS = 10.0
_INTERNAL = "the internal CA certifies it, whatever the DNS says: clients have to trust its root (`proxyd trust`)"
_NOTHING_SEEN: dict[str, object] = {
    "addresses": None,
    "dns_trouble": None,
    "caa": None,
    "caa_allows": None,
    "http": [],
    "https": [],
}


class OnlineCheck:
    """Looks at the hosts of a configuration. `tell` gets each line, `waiting` a word when a CA is slow.

    `document` has the same for scripts.
    """

    def __init__(
        self, config: Config, *, tell: Callable[[str], None], waiting: Callable[[str], None], clock: Clock
    ) -> None:
        self._config = config
        self._tell = tell
        self._waiting = waiting
        self._clock = clock
        self._resolver = Resolver(clock=clock)
        self._resolver.servers = config.resolvers
        self._identities: dict[str, Sequence[str]] = {}
        self._cas: dict[str, str] = {}
        self._hosts: dict[str, dict[str, object]] = {}
        self.document: dict[str, object] = {"cas": self._cas, "hosts": self._hosts}

    async def run(self) -> None:
        """Tell everything, hosts in the order of the file."""
        cache = self._config.cache_directory
        keeps = await asyncio.to_thread(durability, cache)
        self.document["cache"] = {"directory": str(cache), "keeps": keeps}
        self._tell(f"cache {cache}: {keeps}")
        await self._ask_authorities()
        key = await asyncio.to_thread(self_check_key, cache / PRIVATE, make=False)
        self_check = SelfCheck(clock=self._clock, key=key)
        look = NameLook(self._resolver, self_check)
        async with self._answering(self_check) as trouble:
            self.document["port80_trouble"] = trouble
            if trouble and key is None:
                self._tell(f"port 80: {trouble}, and whether it is this proxyd cannot be told: run this as its user")
            await self._look_at_hosts(look)

    async def _look_at_hosts(self, look: NameLook) -> None:
        hosts = list(self._config.names)
        for start in range(0, len(hosts), _AT_ONCE):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._lines(look, one)) for one in hosts[start : start + _AT_ONCE]]
            for task in tasks:
                for line in task.result():
                    self._tell(line)

    async def _lines(self, look: NameLook, host: Hostname) -> list[str]:
        if self._config.acme_of(host).is_internal:
            self._hosts[host.text] = {**_NOTHING_SEEN, "advice": [_INTERNAL]}
            return [str(host), f"  look at   {_INTERNAL}"]
        seen_from = vantage(self._config, host)
        view = await look.look(host, seen_from)
        public = seen_from.is_public
        tls_port = 443 if public or not self._config.listen.https else self._config.listen.https[0].port
        reachable = [one.address for one in view.reached if one.port80 is not Port80.UNKNOWN]
        async with asyncio.TaskGroup() as group:
            tasks = {one: group.create_task(shown_certificate(host, one, tls_port)) for one in reachable}
        is_own = host in self._config.own_certificates
        identities = () if is_own else self._identities.get(self._config.acme_of(host).server, ())
        advice = [one.text for one in findings(host, view, identities)]
        self._hosts[host.text] = {
            "addresses": None if view.addresses is None else list(view.addresses),
            "dns_trouble": view.trouble,
            "caa": None if view.caa is None else [str(one) for one in view.caa],
            "caa_allows": permits(view.caa, identities) if view.caa and identities else None,
            "http": [{"address": one.address, "port": seen_from.port, "answer": one.words} for one in view.reached],
            "https": [
                {"address": address, "port": tls_port, "answer": task.result()} for address, task in tasks.items()
            ],
            "advice": advice,
        }
        caa = "not asked: its certificate is one of your own" if is_own else _caa(view, identities)
        lines = [str(host), f"  DNS       {_dns(view)}", f"  CAA       {caa}"]
        lines += [f"  port {seen_from.port:<4} {one.address}: {one.words}" for one in view.reached]
        lines += [f"  port {tls_port:<4} {address}: {task.result()}" for address, task in tasks.items()]
        return lines + [f"  look at   {one}" for one in advice]

    async def _ask_authorities(self) -> None:
        """Ask the CAs what they are called in CAA records; so it shows, too, whether they can be reached."""
        names = (host for host in self._config.names if host not in self._config.own_certificates)
        options = {one.server: one for one in map(self._config.acme_of, names) if not one.is_internal}
        answers = await asyncio.gather(
            *(told_if_slow(self._answer(ca), self._slow(server)) for server, ca in options.items())
        )
        self._cas.update(zip(options, answers, strict=True))
        for server, answer in self._cas.items():
            self._tell(f"CA {server}: {answer}")

    async def _answer(self, ca: AcmeOptions) -> str:
        try:
            tls = await asyncio.to_thread(ca_context, ca)
            transport = AcmeTransport(directory_url=ca.directory_url, tls=tls, clock=self._clock, rng=random.Random())
            try:
                async with asyncio.timeout(_CA_SECONDS):
                    self._identities[ca.server] = caa_identities(await transport.directory())
            finally:
                await transport.close()
        except TimeoutError:
            return f"no answer within {_CA_SECONDS:.0f} s"
        except (IssuanceError, CaBundleError) as error:
            return str(error)
        return "answers"

    def _slow(self, server: str) -> Callable[[], Awaitable[None]]:
        async def tell() -> None:
            self._waiting(f"CA {server}: no answer yet, it is waited for at most {_CA_SECONDS:.0f} s")

        return tell

    @asynccontextmanager
    async def _answering(self, self_check: SelfCheck) -> AsyncIterator[str | None]:
        """Answer on port 80 ourselves while nobody does, as before the first start; yield why we could not."""
        sockets: list[socket.socket] = []
        try:
            for address in self._config.listen.http:
                sockets += bind(address, key="listen.http")[0]
        except ListenError as error:
            for sock in sockets:
                sock.close()
            yield str(error)
            return
        async with asyncio.TaskGroup() as tasks:
            handler = PlainHandler(
                answer=lambda _host, _token: None,
                arrived=lambda *_: None,
                nonce=self_check.answer,
                takes=lambda _: False,
                traffic=Traffic(clock=self._clock),
                https_port=lambda: 443,
                date=DateLine(self._clock),
            )
            handler.hosts = self._config.names.keys()
            gate = ArrivalGate(Networks(self._config.listen.proxy_protocol))
            seats = Seats(most=1000, most_each=0, counters=Counters())
            h1 = H1Frontend(handler)
            plain = PlainFrontend(gate=gate, seats=seats, h1=h1, arriving=Arriving(tasks))
            listeners = [Listener(sock, plain.accepted) for sock in sockets]
            for listener in listeners:
                listener.start()
            try:
                yield None
            finally:
                for listener in listeners:
                    listener.stop()
                await h1.drain(1.0)


def _dns(view: NameView) -> str:
    if view.addresses is None:
        return f"no answer: {view.trouble}"
    return ", ".join(view.addresses) or "no address"


def _caa(view: NameView, identities: Sequence[str]) -> str:
    if view.caa is None:
        return "no answer"
    if not view.caa:
        return "none: any CA may issue"
    records = "; ".join(str(one) for one in view.caa)
    if not identities:
        return f"{records} (the CA does not say what it is called there)"
    return f"{records}: {'allows' if permits(view.caa, identities) else 'FORBIDS'} {' or '.join(identities)}"
