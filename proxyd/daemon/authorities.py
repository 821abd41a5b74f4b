"""The CAs of a configuration, ready to be asked."""

import asyncio
import hashlib
import logging
import random
import re
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from proxyd.config.acme import AcmeOptions
from proxyd.config.ca_bundle import CaBundleError, trust
from proxyd.config.model import Config
from proxyd.core.alarm import Alarm
from proxyd.core.authority import Authority
from proxyd.core.clock import Clock
from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.internal_ca import INTERNAL, is_local
from proxyd.core.lineage import Lineage
from proxyd.daemon.plans import authorities_of, binding_of
from proxyd.issuance.acme_account import AcmeAccount, ExternalBinding
from proxyd.issuance.acme_issuer import AcmeIssuer
from proxyd.issuance.acme_transport import AcmeTransport
from proxyd.issuance.authorizer import Authorizer
from proxyd.issuance.challenge_solver import ChallengeSolver
from proxyd.issuance.internal_issuer import InternalIssuer
from proxyd.issuance.issuer import Issuer
from proxyd.issuance.memory import Memory
from proxyd.store.account_keys import AccountKeys
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.pending_orders import PendingOrders
from proxyd.store.store import StoreError

_log = logging.getLogger("proxyd.acme")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ca:
    transport: AcmeTransport
    account: AcmeAccount
    authorizer: Authorizer


class Authorities:
    """Makes issuers on demand: one transport and account for each CA, whatever profiles the hosts ask of it."""

    def __init__(
        self,
        *,
        store: CertificateStore,
        orders: PendingOrders,
        solvers: Sequence[ChallengeSolver],
        authority: Callable[[AcmeOptions], Authority],
        clock: Clock,
        rng: random.Random,
        dated: Callable[[str, datetime | None], None],
        turn: Callable[[], Awaitable[None]],
        memory: Memory,
    ) -> None:
        self.internal = InternalIssuer(store.store, machine=socket.gethostname(), memory=memory, clock=clock, turn=turn)
        self._store = store
        self._orders = orders
        self._solvers = solvers
        self._authority = authority
        self._clock = clock
        self._rng = rng
        self._dated = dated
        self._turn = turn
        self._first: str | None = None
        self._cas: dict[tuple[object, ...], _Ca] = {}
        self._config: Config | None = None
        self._options: dict[tuple[Hostname | HostPattern, str], AcmeOptions] = {}
        self._issuers: dict[tuple[object, ...], AcmeIssuer] = {}

    async def use(self, config: Config) -> None:
        """Take over the CAs of `config`. With a file of roots that cannot be read only its hosts get no certificate."""
        if self._first is None:
            self._first = config.acme.server
        options, trusted = await asyncio.to_thread(_read, config)  # of ten thousand hosts: not in the loop
        asked: defaultdict[str, dict[tuple[object, ...], AcmeOptions]] = defaultdict(dict)
        for one in {id(one): one for one in options.values()}.values():  # most hosts share theirs
            asked[one.server].setdefault(_identity(one), one)
        for server, several in asked.items():
            authority = self._authority(next(iter(several.values())))
            if server == INTERNAL:
                continue
            authority.ask_as(hashlib.sha256("".join(sorted(map(repr, several))).encode()).hexdigest()[:16])
            for identity, one in several.items():
                tls = trusted[one.ca_bundle]
                if identity not in self._cas:
                    self._cas[identity] = self._made(one, authority, tls or _nobody())
                elif tls is not None:  # else as it was read before
                    self._cas[identity].transport.trust(tls)
        self._config, self._options = config, options

    def issuer(self, lineage: Lineage, name: str) -> Issuer | None:
        """Return the CA `name` as the lineage's host wants it asked, or None when the host does not name it."""
        pattern = self._config.table.pattern(lineage.host) if self._config else None
        options = self._options.get((pattern or lineage.host, name))
        return None if options is None else self._issuer(options)

    def issuer_at(self, name: str) -> Issuer | None:
        """Return the CA `name` as any host wants it asked: for orders of hosts that are gone."""
        options = next((one for (_, server), one in self._options.items() if server == name), None)
        return None if options is None else self._issuer(options)

    async def abandon_all_but(self, lineages: Collection[Lineage]) -> None:
        """Leave nothing pending at a CA for hosts that were taken out of the configuration while no process ran."""
        for pending in self._orders.all():
            if pending.lineage in lineages and self.issuer(pending.lineage, pending.issuer):
                continue  # the renewer goes on with it
            if issuer := self.issuer_at(pending.issuer):
                await issuer.abandon(pending)
            else:
                await asyncio.to_thread(self._orders.forget, pending)

    def _issuer(self, options: AcmeOptions) -> Issuer:
        if options.is_internal:
            return self.internal
        key = (*_identity(options), options.profile, options.preferred_chain)
        if key not in self._issuers:
            ca = self._ca(options)
            self._issuers[key] = AcmeIssuer(
                name=options.server,
                transport=ca.transport,
                account=ca.account,
                authorizer=ca.authorizer,
                orders=self._orders,
                clock=self._clock,
                profile=options.profile,
                preferred_chain=options.preferred_chain,
            )
        return self._issuers[key]

    async def caa_identities(self, host: Hostname) -> tuple[str, ...]:
        """Return what the first CA of a host is called in CAA records; empty when it cannot say so."""
        options = next((one for (named, _), one in self._options.items() if named == host), None)
        if options is None or options.is_internal:
            return ()
        try:
            return caa_identities(await self._ca(options).transport.directory())
        except IssuanceError:
            return ()

    def accounts(self) -> Mapping[str, list[AcmeAccount]]:
        """Return the accounts of each CA in use: several where hosts have several contacts; their key is the same."""
        found: dict[str, dict[tuple[object, ...], AcmeAccount]] = {}
        for options in self._options.values():
            if options.is_internal:
                continue
            found.setdefault(options.server, {})[_identity(options)] = self._ca(options).account
        return {server: list(accounts.values()) for server, accounts in found.items()}

    def forget_accounts(self) -> None:
        """Look for each account anew at the next need: another process may have replaced its key."""
        for ca in self._cas.values():
            ca.account.forget()

    async def ask_time(self) -> bool:
        """Have `dated` told what time each CA says it is; return whether there is a CA but our own."""

        async def ask(transport: AcmeTransport) -> None:
            try:
                await transport.ask_time()
            except IssuanceError as error:
                _log.info("a CA was asked what time it is", extra={"outcome": str(error)})

        async with asyncio.TaskGroup() as group:
            for ca in [*self._cas.values()]:
                group.create_task(ask(ca.transport))
        return any(not one.is_internal for one in self._options.values())

    async def keep_roots(self) -> None:
        """Look that the internal CA's roots are where they were. Only when it is our turn to order."""
        try:
            await self.internal.keep_roots()
        except StoreError as error:
            _log.error("the root of the internal CA cannot be used", extra={"reason": str(error)})

    def root_alarms(self, lineages: Callable[[], Iterable[Lineage]]) -> Iterator[tuple[Lineage, Alarm]]:
        """Yield what is to be told of the internal CA's roots, with each lineage that it is about."""
        for limited, alarm in self.internal.alarms():
            for one in lineages():
                if self.issuer(one, INTERNAL) is not None and all(map(is_local, one.names)) == limited:
                    yield one, alarm

    async def close(self) -> None:
        """Close the connections to all CAs."""
        for ca in self._cas.values():
            await ca.transport.close()

    def _ca(self, options: AcmeOptions) -> _Ca:
        return self._cas[_identity(options)]

    def _made(self, options: AcmeOptions, authority: Authority, trusted: ssl.SSLContext) -> _Ca:
        transport = AcmeTransport(
            directory_url=options.directory_url,
            tls=trusted,
            tls_again=lambda: _trusted_now(options),
            clock=self._clock,
            rng=self._rng,
            dated=self._dated,
            turn=self._turn,
        )
        named = dict.fromkeys((options.server, options.directory_url))
        eab = options.eab
        account = AcmeAccount(
            issuer=options.server,
            transport=transport,
            keys=AccountKeys(self._store, tuple(map(_file_name, named)), options.server == self._first),
            email=options.email,
            binding=ExternalBinding(kid=eab.kid, hmac_key=eab.hmac_key.get_secret_value()) if eab else None,
            may_register=lambda: self._may_register(authority),
        )
        authorizer = Authorizer(issuer=options.server, transport=transport, solvers=self._solvers)
        return _Ca(transport=transport, account=account, authorizer=authorizer)

    def _may_register(self, authority: Authority) -> None:
        if authority.ledger and (refusal := authority.ledger.new_account(self._clock.now())):
            message = f"no new account is made at {authority.name}: {refusal}"
            raise IssuanceError(FailureKind.RATE_LIMITED, message, retry_after=refusal.until - self._clock.now())


def _read(
    config: Config,
) -> tuple[dict[tuple[Hostname | HostPattern, str], AcmeOptions], dict[Path | None, ssl.SSLContext | None]]:
    """Return how each host wants each of its CAs asked, and whom each file of roots lets us trust; None: broken."""
    options = _options_of(config)
    trusted: dict[Path | None, ssl.SSLContext | None] = {}
    for one in {one.ca_bundle: one for one in options.values() if not one.is_internal}.values():
        try:
            trusted[one.ca_bundle] = ca_context(one)
        except CaBundleError as error:
            trusted[one.ca_bundle] = None
            _log.error("a CA cannot be asked", extra={"issuer": one.server, "reason": str(error)})
    return options, trusted


def _nobody() -> ssl.SSLContext:
    """Return what trusts no CA, so that the file is read anew at every try."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _trusted_now(options: AcmeOptions) -> ssl.SSLContext:
    try:
        return ca_context(options)
    except CaBundleError as error:
        message = f"the CA {options.server} is not asked, because whom to trust is not known: {error}"
        raise IssuanceError(FailureKind.LOCAL, message, is_of_one_ca=True) from error


def _options_of(config: Config) -> dict[tuple[Hostname | HostPattern, str], AcmeOptions]:
    """Return how each host wants each of its CAs asked."""
    asked: list[Hostname | HostPattern] = [*config.certificate_hosts, *config.wildcards]
    return {(host, one.server): one for host in asked for one in authorities_of(config, host)}


def _identity(options: AcmeOptions) -> tuple[object, ...]:
    return options.server, str(options.ca_bundle), options.email, binding_of(options)


def _file_name(server: str) -> str:
    return re.sub(r"[^a-z0-9.-]+", "_", server.lower())


def caa_identities(directory: Mapping[str, object]) -> tuple[str, ...]:
    """Return what a CA says it is called in CAA records (RFC 8555 §7.1.1)."""
    meta = directory.get("meta")
    names = meta.get("caaIdentities") if isinstance(meta, Mapping) else None
    return tuple(str(one)[:253] for one in names[:20]) if isinstance(names, list) else ()


def ca_context(options: AcmeOptions) -> ssl.SSLContext:
    """Return how the API of a CA is verified. Raises CaBundleError."""
    try:
        return trust(options.ca_bundle)
    except CaBundleError as error:
        raise CaBundleError(f"acme.ca_bundle: {error}") from error
