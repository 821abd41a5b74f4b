"""Our ACME client in this process, with the real ports that a CA looks at, and any CA."""

import asyncio
import random
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.acme_account import AcmeAccount
from proxyd.issuance.acme_issuer import AcmeIssuer
from proxyd.issuance.acme_transport import AcmeTransport
from proxyd.issuance.authorizer import Authorizer
from proxyd.issuance.challenge_board import ChallengeBoard
from proxyd.issuance.challenge_solver import Http01Solver, TlsAlpn01Solver
from proxyd.issuance.issuer import Issuance
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
        self.challenges = ChallengeTable(clock=clock, arrived=lambda *_: None)
        self._http_port = http_port
        self.transport = AcmeTransport(
            directory_url=ca.url,
            tls=ssl.create_default_context(cafile=str(ca.bundle)),
            clock=clock,
            rng=random.Random(1),
            request_seconds=request_seconds,
        )
        self.account = AcmeAccount(
            issuer="ca", transport=self.transport, keys=AccountKeys(self.store, ("ca",), True), email=email
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
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._http_port).start()
        await asyncio.to_thread(self.orders.open)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self.transport.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Do what port 80 of the daemon does for challenges."""
        host = Hostname.parse(request.host.rsplit(":", 1)[0])
        answer = self.board.answer(host, request.path.removeprefix("/.well-known/acme-challenge/"))
        return web.Response(status=404) if answer is None else web.Response(text=answer)

    async def issue(
        self,
        *names: str,
        challenges: Sequence[str] = ("http-01",),
        replaces: str | None = None,
        account: str | None = None,
        key: str = "p256",
    ) -> Issuance:
        hosts = tuple(Hostname.parse(name) for name in names)
        order = CertificateOrder(host=hosts[0], names=hosts, key_kind=key, replaces=replaces, account=account)
        return await self.issuer.issue(order, challenges)

    async def failure(self, *names: str, challenges: Sequence[str] = ("http-01",)) -> IssuanceError:
        """Return how an order fails."""
        with pytest.raises(IssuanceError) as found:
            await self.issue(*names, challenges=challenges)
        text = str(found.value)
        assert text.isprintable()
        assert len(text) < 4000
        return found.value
