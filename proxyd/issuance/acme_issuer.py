"""Certificates by ACME (RFC 8555): places orders, goes on with interrupted ones, asks for windows, revokes."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import josepy

from proxyd.certs.certificate import Certificate
from proxyd.certs.key import generate_key, key_from_pem
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.clock import Clock
from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.problem import Problem
from proxyd.core.renewal import parse_window
from proxyd.core.revocation_reason import KEY_COMPROMISE
from proxyd.issuance.acme_account import AcmeAccount
from proxyd.issuance.acme_error import AcmeProblem, UnfinishedOrder, account_is_lost, may_pass
from proxyd.issuance.acme_order import AcmeOrder
from proxyd.issuance.acme_signer import AccountSigner
from proxyd.issuance.acme_transport import AcmeResponse, AcmeTransport
from proxyd.issuance.authorizer import Authorizer
from proxyd.issuance.csr import identifier
from proxyd.issuance.issuer import Issuance, ReplacesRefused, WindowAnswer
from proxyd.store.pending_orders import PendingOrder, PendingOrders
from proxyd.store.store import StoreError

_log = logging.getLogger("proxyd.issuance")
_ORDER_SECONDS = 600.0  # for everything
#: The certificate is another account's (RFC 8555 §7.6).
_NOT_OURS = ("unauthorized", "accountDoesNotExist")
#: What an order is refused for whatever it replaces.
_NOT_ABOUT_REPLACES = ("accountDoesNotExist", "externalAccountRequired", "userActionRequired", "badNonce")
_WINDOW_SECONDS = 60.0
#: Refused so, a request may be signed with a key that another process replaced.
_OF_SIGNATURES = ("malformed", "unauthorized", "badPublicKey", "badSignatureAlgorithm")
_MAX_PENDING = timedelta(days=1)  # what is not finished by then never will be


class AcmeIssuer:
    """Implements Issuer for one account at one CA."""

    def __init__(
        self,
        *,
        name: str,
        transport: AcmeTransport,
        account: AcmeAccount,
        authorizer: Authorizer,
        orders: PendingOrders,
        clock: Clock,
        profile: str | None = None,
        preferred_chain: str | None = None,
        order_seconds: float = _ORDER_SECONDS,
    ) -> None:
        self.name = name
        self.account = account
        self._transport = transport
        self._authorizer = authorizer
        self._orders = orders
        self._clock = clock
        self._profile = profile
        self._preferred_chain = preferred_chain
        self._order_seconds = order_seconds

    async def issue(self, order: CertificateOrder, challenges: Sequence[str]) -> Issuance:
        try:
            async with asyncio.timeout(self._order_seconds):
                await self._check_profile(order.host)
                key = await asyncio.to_thread(generate_key, order.key_kind)
                placed, signer = await self._new_order(order)
        except TimeoutError:
            raise self._late(order.host) from None
        pending = PendingOrder(
            issuer=self.name,
            lineage=Lineage(host=order.host, names=order.names, key_kind=order.key_kind),
            url=placed.location or "",
            account=signer.url or "",
            placed_at=self._clock.now(),
            key=key,
        )
        course = self._course(order, pending, signer)
        _log.info("order placed", extra={"host": order.host, "issuer": self.name, "order": placed.location})
        return await self._complete(course, placed, challenges, is_new=True)

    async def resume(
        self, order: CertificateOrder, pending: PendingOrder, challenges: Sequence[str]
    ) -> Issuance | None:
        signer = await self.account.signer()
        course = self._course(order, pending, signer)
        now = await self._look(course, signer)
        state = None if now is None else now.json.get("status")
        is_old = self._clock.now() - pending.placed_at > _MAX_PENDING
        _log.info(
            "an interrupted order is looked at",
            extra={"host": order.host, "issuer": self.name, "status": state or "gone"},
        )
        if now is None or (is_old and state != "valid"):
            if now is not None and state == "pending":
                await course.give_up(now)
            await asyncio.to_thread(self._orders.forget, pending)
            return None
        if state == "invalid":  # while nobody looked: a failure like any other
            await asyncio.to_thread(self._orders.forget, pending)
            raise await self._why_invalid(course, now)
        return await self._complete(course, now, challenges)

    async def abandon(self, pending: PendingOrder) -> None:
        lineage = pending.lineage
        order = CertificateOrder(host=lineage.host, names=lineage.names, key_kind=lineage.key_kind)
        try:
            async with asyncio.timeout(_WINDOW_SECONDS):
                signer = await self.account.signer()
                course = self._course(order, pending, signer)
                if now := await self._look(course, signer):
                    await course.give_up(now)
        except (IssuanceError, TimeoutError) as error:
            _log.info("an order was left behind", extra={"host": lineage.host, "reason": str(error)})
        await asyncio.to_thread(self._orders.forget, pending)

    async def has_windows(self) -> bool:
        return isinstance((await self._transport.directory()).get("renewalInfo"), str)

    async def renewal_window(self, cert_id: str) -> WindowAnswer:
        base = (await self._transport.directory()).get("renewalInfo")
        if not isinstance(base, str):
            raise IssuanceError(FailureKind.CA, f"the CA {self.name} tells no renewal windows")
        try:
            async with asyncio.timeout(_WINDOW_SECONDS):
                answer = await self._transport.get(f"{base.rstrip('/')}/{cert_id}")
        except TimeoutError:
            raise IssuanceError(FailureKind.CA, f"the CA {self.name} was slow to tell its renewal window") from None
        return WindowAnswer(window=parse_window(answer.json, cert_id), retry_after=answer.retry_after)

    async def revoke(self, certificate: Certificate, reason: int) -> None:
        url = (await self._transport.directory()).get("revokeCert")
        payload = {"certificate": josepy.b64encode(certificate.leaf).decode(), "reason": reason}
        own_key = AccountSigner(key_from_pem(certificate.pem))
        # A key that signs its own revocation is proved to be out: CAs block it for ever.
        if reason == KEY_COMPROMISE:
            await self._revoke_by(own_key, url, payload)
            return
        try:
            await self._revoke_by(await self.account.signer(), url, payload)
        except AcmeProblem as refused:
            if refused.problem.kind not in _NOT_OURS:
                raise
            await self._revoke_by(own_key, url, payload)

    async def _revoke_by(self, signer: AccountSigner, url: object, payload: Mapping[str, Any]) -> None:
        try:
            await self._transport.post(url, payload, signer, repeatable=True)
        except AcmeProblem as refused:
            if refused.problem.kind != "alreadyRevoked":
                raise

    def _course(self, order: CertificateOrder, pending: PendingOrder, signer: AccountSigner) -> AcmeOrder:
        return AcmeOrder(
            order=order,
            pending=pending,
            transport=self._transport,
            authorizer=self._authorizer,
            signer=signer,
            clock=self._clock,
            preferred_chain=self._preferred_chain,
        )

    async def _complete(
        self, course: AcmeOrder, now: AcmeResponse, challenges: Sequence[str], *, is_new: bool = False
    ) -> Issuance:
        """Keep the order where it can go on later; give it up, and leave nothing pending at the CA, where it cannot."""
        try:
            async with asyncio.timeout(self._order_seconds):
                if is_new:
                    await self._keep(course.pending)
                return await course.complete(now, challenges)
        except BaseException as error:
            keeps = may_pass(error) if isinstance(error, IssuanceError) else course.is_proved
            if not keeps:
                await asyncio.shield(self._give_up(course, error))
            late = self._late(course.pending.lineage.host) if isinstance(error, TimeoutError) else error
            if not keeps or not isinstance(late, IssuanceError):
                raise late from None
            raise _unfinished(late) from error

    async def _keep(self, pending: PendingOrder) -> None:
        try:
            await asyncio.to_thread(self._orders.save, pending)
        except StoreError as error:  # the order goes on: only a crash would lose it
            _log.warning("the order could not be kept", extra={"host": pending.lineage.host, "reason": str(error)})

    async def _give_up(self, course: AcmeOrder, error: BaseException) -> None:
        if isinstance(error, AcmeProblem) and error.problem.kind == "accountDoesNotExist":
            self.account.forget_url(course.pending.account)
        else:
            await course.give_up()
        await asyncio.to_thread(self._orders.forget, course.pending)

    async def _why_invalid(self, course: AcmeOrder, now: AcmeResponse) -> IssuanceError:
        try:
            async with asyncio.timeout(_WINDOW_SECONDS):
                return await course.why_invalid(now)
        except TimeoutError:
            return course.failure(now)

    async def _look(self, course: AcmeOrder, signer: AccountSigner) -> AcmeResponse | None:
        """Return how an interrupted order stands, or None when the CA has it no more."""
        if course.pending.account != signer.url:
            return None
        try:
            return await course.look()
        except AcmeProblem as refused:
            if may_pass(refused):
                raise _unfinished(refused) from refused
            if refused.problem.kind == "accountDoesNotExist":
                self.account.forget_url(course.pending.account)
            return None
        except IssuanceError as error:
            if may_pass(error):
                raise _unfinished(error) from error
            return None

    async def _new_order(self, order: CertificateOrder) -> tuple[AcmeResponse, AccountSigner]:
        payload: dict[str, Any] = {"identifiers": [identifier(name) for name in order.names]}
        if self._profile:
            payload["profile"] = self._profile
        if order.replaces and await self.has_windows():
            payload["replaces"] = order.replaces
        signer = await self.account.signer()
        if "replaces" in payload and order.account not in (None, signer.url):
            message = "another account ordered the certificate that serves"
            raise ReplacesRefused(FailureKind.CA, message, host=order.host)
        try:
            return await self._post_order(order.host, payload, signer), signer
        except AcmeProblem as refused:
            if refused.problem.kind != "accountDoesNotExist":
                if refused.problem.kind in _OF_SIGNATURES:
                    self.account.forget_url(signer.url)
                if "replaces" in payload and _may_be_about_replaces(refused.problem):
                    raise ReplacesRefused(
                        FailureKind.CA,
                        str(refused),
                        host=order.host,
                        cause=refused.failure.cause,
                        problem=refused.problem,
                    ) from refused
                raise self._explained(order.host, refused) from refused
        _log.warning("the CA forgot our account: making it again", extra={"issuer": self.name})
        self.account.forget_url(signer.url)
        payload.pop("replaces", None)  # the new account owns nothing
        signer = await self.account.signer()
        try:
            return await self._post_order(order.host, payload, signer), signer
        except AcmeProblem as refused:
            raise self._explained(order.host, refused) from refused

    async def _post_order(self, host: Hostname, payload: Mapping[str, Any], signer: AccountSigner) -> AcmeResponse:
        placed = await self._transport.post((await self._transport.directory())["newOrder"], payload, signer)
        if placed.location is None or not placed.json.get("status"):
            raise IssuanceError(FailureKind.CA, f"the CA {self.name} answered with an order that is none", host=host)
        return placed

    async def _check_profile(self, host: Hostname) -> None:
        if self._profile is None:
            return
        offered = _profiles(directory := await self._transport.directory())
        if self._profile not in offered:  # the CA may have begun to offer it since
            offered = _profiles(await self._transport.directory(instead_of=directory))
        if self._profile not in offered:
            message = (
                f"the CA {self.name} has no profile {self._profile!r}: set acme.profile to "
                f"{' or '.join(sorted(offered)[:20]) or 'null, it has none'}"
            )
            raise IssuanceError(FailureKind.HOST_REFUSED, message, host=host)

    def _explained(self, host: Hostname, refused: AcmeProblem) -> IssuanceError:
        problem, advice, kind = refused.problem, "", refused.failure.kind
        if url := problem.unpause_url:
            advice = f"; the CA paused this name after too many failures: mend its DNS, then unpause it at {url}"
        elif problem.kind == "externalAccountRequired":
            advice = "; set acme.eab to the kid and hmac_key that the CA gave you"
        elif problem.kind == "unauthorized" and not problem.subproblems:  # no name has been looked at yet
            kind = FailureKind.ACCOUNT_REFUSED
            advice = account_is_lost(self.account.key_files)
            self.account.forget()  # so that the next order sees that its key was moved away
        cause = f"{refused.failure.cause}{advice}"
        return IssuanceError(kind, f"{refused}{advice}", host=host, cause=cause, problem=problem)

    def _late(self, host: Hostname) -> IssuanceError:
        message = f"the CA {self.name} did not finish the order within {self._order_seconds:.0f} s"
        return IssuanceError(FailureKind.CA, message, host=host)


def _profiles(directory: Mapping[str, Any]) -> list[str]:
    meta = directory.get("meta")
    profiles = meta.get("profiles") if isinstance(meta, Mapping) else None
    return [ascii(str(one))[1:-1][:60] for one in profiles] if isinstance(profiles, Mapping) else []


def _unfinished(error: IssuanceError) -> UnfinishedOrder:
    problem = error.problem if isinstance(error, AcmeProblem) else None
    message = f"{error}; the order is kept and goes on at the next try"
    return UnfinishedOrder(
        error.failure.kind,
        message,
        cause=error.failure.cause,
        problem=problem,
        retry_after=error.failure.retry_after,
        is_of_one_ca=error.failure.is_of_one_ca,
    )


def _may_be_about_replaces(problem: Problem) -> bool:
    """CAs have many words for it (409, 404, 403 `unauthorized` of another account): what remains shows without it."""
    if problem.is_rate_limit or problem.kind in _NOT_ABOUT_REPLACES:
        return False
    return 400 <= problem.status < 500 or "given certificate" in problem.detail  # Pebble calls it serverInternal
