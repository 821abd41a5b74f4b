"""Our ACME client in this process, with the real ports that a CA looks at, and any CA."""

import asyncio
import random
import ssl
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pytest

from proxyd.config.values import ListenAddress
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.daemon.system_clock import SystemClock
from proxyd.frontend.listener import Listener, bind
from proxyd.frontend.plain import PlainFrontend
from proxyd.issuance.acme_account import AcmeAccount
from proxyd.issuance.acme_issuer import AcmeIssuer
from proxyd.issuance.acme_transport import AcmeTransport
from proxyd.issuance.authorizer import Authorizer
from proxyd.issuance.challenge_board import ChallengeBoard
from proxyd.issuance.challenge_solver import Http01Solver, TlsAlpn01Solver
from proxyd.issuance.issuer import Issuance
from proxyd.proxy.traffic import Traffic
from proxyd.store.account_keys import AccountKeys
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from proxyd.store.pending_orders import PendingOrders
from proxyd.tls.challenge_table import ChallengeTable
from tests.support.daemon import AcmeServer


class Client:
    """An AcmeIssuer with an account of its own in `directory`."""

    def __init__(
        self,
        ca: AcmeServer,
        directory: Path,
        *,
        http_port: int,
        email: str | None = None,
        profile: str | None = None,
        preferred_chain: str | None = None,
        order_seconds: float = 20.0,
        request_seconds: float = 5.0,
    ) -> None:
        clock = SystemClock()
        self.store = CertificateStore(DirectoryStore(directory, clock=clock), clock=clock)
        self.orders = PendingOrders(self.store.store)
        self.board = ChallengeBoard()
        self.arrived: list[str] = []
        self.challenges = ChallengeTable(clock=clock, arrived=lambda name, *_: self.arrived.append(str(name)))
        self._http_port = http_port
        self.transport = AcmeTransport(
            directory_url=ca.url,
            tls=ssl.create_default_context(cafile=str(ca.bundle)),
            clock=clock,
            rng=random.Random(1),
            request_seconds=request_seconds,
        )
        self.account = AcmeAccount(
            issuer="ca", transport=self.transport, keys=AccountKeys(self.store, None), email=email
        )
        solvers = (TlsAlpn01Solver(self.challenges), Http01Solver(self.board))
        self.issuer = AcmeIssuer(
            name="ca",
            transport=self.transport,
            account=self.account,
            authorizer=Authorizer(issuer="ca", transport=self.transport, solvers=solvers),
            orders=self.orders,
            clock=clock,
            profile=profile,
            preferred_chain=preferred_chain,
            order_seconds=order_seconds,
        )

    async def __aenter__(self) -> "Client":
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        plain = PlainFrontend(
            answer=self.board.answer,
            arrived=lambda name, *_: self.arrived.append(str(name)),
            nonce=lambda _: None,
            traffic=Traffic(clock=SystemClock()),
            https_port=lambda: 443,
            tasks=self._group,
        )
        plain.hosts = _Everything()
        self._plain = plain
        address = ListenAddress(host="127.0.0.1", port=self._http_port)
        self._listeners = [Listener(sock, plain.accepted) for sock in bind(address, key="http")]
        for listener in self._listeners:
            listener.start()
        await asyncio.to_thread(self.orders.open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self._listeners:
            listener.stop()
        await self._plain.drain()
        await self.transport.close()
        await self._group.__aexit__(kind, error, trace)

    async def issue(
        self, *names: str, challenges: Sequence[str] = ("http-01",), replaces: str | None = None, key: str = "p256"
    ) -> Issuance:
        hosts = tuple(Hostname.parse(name) for name in names)
        order = CertificateOrder(host=hosts[0], names=hosts, key_kind=key, replaces=replaces)
        return await self.issuer.issue(order, challenges)

    async def failure(self, *names: str, challenges: Sequence[str] = ("http-01",)) -> IssuanceError:
        """Return how an order fails."""
        with pytest.raises(IssuanceError) as found:
            await self.issue(*names, challenges=challenges)
        text = str(found.value)
        assert text.isprintable()
        assert len(text) < 4000
        return found.value


class _Everything:
    def __contains__(self, host: object) -> bool:
        return True
