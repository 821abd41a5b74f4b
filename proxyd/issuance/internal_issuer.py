"""Certificates of our own CA: for names that no other one certifies, and for whoever asks for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta

from proxyd.certs.certificate import Certificate
from proxyd.certs.internal_root import BACKDATED, InternalRoot
from proxyd.core.alarm import Alarm
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.clock import Clock
from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.core.internal_ca import INTERNAL, is_local
from proxyd.core.moment import read_moment
from proxyd.core.renewal import Validity
from proxyd.core.trouble import TroubleKind
from proxyd.issuance.issuer import Issuance, WindowAnswer
from proxyd.issuance.memory import Memory
from proxyd.issuance.pace import at_once
from proxyd.store.internal_roots import InternalRoots
from proxyd.store.pending_orders import PendingOrder
from proxyd.store.store import Store, StoreError

_log = logging.getLogger("proxyd.internal_ca")
#: Renewed at half of it, so three days may pass in which nothing is renewed.
LIFE = timedelta(days=7)
_TICK = timedelta(seconds=1)
_ENDS_SOON = timedelta(days=180)
_TO_DO = (
    "Run `proxyd trust` (it prints the new root, `--install` installs it here) and have every machine that connects "
    "trust it, beside the old one, which the present certificates need until they are renewed. Then it is told no more."
)


class InternalIssuer:
    """Implements Issuer without a network: no challenge, no limit, no window, no account.

    Of the two roots the limited one signs whatever it may; the other is made when a name needs it. `turn`: certificates
    are made in small pieces while requests come (ADR 4).
    """

    def __init__(
        self,
        store: Store,
        *,
        machine: str,
        memory: Memory,
        clock: Clock,
        life: timedelta = LIFE,
        turn: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self.roots = InternalRoots(store, machine=machine)
        self._memory = memory
        self._clock = clock
        self._life = life
        self._turn = turn

    @property
    def name(self) -> str:
        return INTERNAL

    async def issue(self, order: CertificateOrder, challenges: Sequence[str]) -> Issuance:
        await self._turn()
        root, now = await self._root(order), self._clock.now()
        # Clients' clocks are a little behind, but it is never older than what it replaces, of whatever CA that is.
        begin = now - BACKDATED if order.follows is None else max(now - BACKDATED, order.follows + _TICK)
        validity = Validity(not_before=min(begin, now), not_after=now + self._life)
        certificate = await asyncio.to_thread(root.certify, order.names, order.key_kind, validity)
        return Issuance(certificate=certificate, challenge=None)

    async def resume(
        self, order: CertificateOrder, pending: PendingOrder, challenges: Sequence[str]
    ) -> Issuance | None:
        return None  # nothing is ever pending

    async def abandon(self, pending: PendingOrder) -> None:
        return

    async def has_windows(self) -> bool:
        return False

    async def renewal_window(self, cert_id: str) -> WindowAnswer:
        raise IssuanceError(FailureKind.CA, "the internal CA tells no renewal windows")

    async def revoke(self, certificate: Certificate, reason: int) -> None:
        """Do nothing: clients ask nobody whether it is revoked; it is replaced, and ends within days."""

    async def keep_roots(self) -> None:
        """Look that the roots are where they were; what is lost is written again, or replaced. Raises StoreError."""
        for limited in (True, False):
            if self._memory.document(_key(limited=limited)):
                await self._look(limited=limited)

    def alarms(self) -> Iterator[tuple[bool, Alarm]]:
        """Yield what everybody has to hear of the roots, each with whether it is the limited one."""
        for limited in (True, False):
            document = self._memory.document(_key(limited=limited))
            if why := document.get("replaced"):
                yield (
                    limited,
                    Alarm(
                        reason=f"the internal CA has a new root ({why}): clients that trust only the old one refuse "
                        "the hosts once their certificates are renewed",
                        to_do=_TO_DO,
                        kind=TroubleKind.ROOT_CHANGED,
                    ),
                )
            ends = read_moment(document.get("ends"))
            if ends is not None and ends - self._clock.now() < _ENDS_SOON:
                yield (
                    limited,
                    Alarm(
                        reason=f"the root of the internal CA ends on {ends:%Y-%m-%d}; a new one, which has to be "
                        "trusted, takes its place 30 days before",
                        to_do="Nothing yet; plan to run `proxyd trust` on every machine that connects.",
                        kind=TroubleKind.ROOT_CHANGED,
                    ),
                )

    def was_shown(self) -> None:
        """Hear that a person was given the roots: that they are new is no news any more."""
        for limited in (True, False):
            document = dict(self._memory.document(_key(limited=limited)))
            if document.pop("replaced", None):
                self._memory.keep_document(_key(limited=limited), document)

    async def _root(self, order: CertificateOrder) -> InternalRoot:
        try:
            root = await self._look(limited=all(map(is_local, order.names)))
        except StoreError as error:
            message = f"the internal CA cannot use its root: {error}"
            raise IssuanceError(FailureKind.LOCAL, message, host=order.host) from error
        if self._clock.now() < (begins := root.validity.not_before):
            message = (
                f"the root of the internal CA is valid from {begins:%Y-%m-%d %H:%M} UTC on: set the clock of this "
                "machine; or, if it was wrong when the root was made, stop the daemon, move the root away and start it "
                "(docs/internal-ca.md)"
            )
            raise IssuanceError(FailureKind.LOCAL, message, host=order.host)
        return root

    async def _look(self, *, limited: bool) -> InternalRoot:
        found = await asyncio.to_thread(self.roots.get, self._clock.now(), limited=limited)
        if found.is_new:
            self._made(found.root, found.why, limited=limited)
        return found.root

    def _made(self, root: InternalRoot, why: str | None, *, limited: bool) -> None:
        known = self._memory.document(_key(limited=limited)).get("fingerprint")
        replaced = why or ("the file of the one before has gone" if known else None)
        document: dict[str, object] = {"fingerprint": root.fingerprint, "ends": root.validity.not_after}
        extra = {"root": root.name, "fingerprint": root.fingerprint, "limited": limited}
        if replaced:
            document["replaced"] = replaced
            _log.error("the internal CA has a new root", extra={**extra, "reason": replaced, "next": "proxyd trust"})
        else:
            _log.warning("the internal CA made its root", extra={**extra, "next": "proxyd trust"})
        self._memory.keep_document(_key(limited=limited), document)
        self._memory.note("internal root", None, INTERNAL, root=root.name, reason=replaced)


def _key(*, limited: bool) -> str:
    return "internal root" if limited else "internal root for any name"
