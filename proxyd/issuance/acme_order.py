"""One order at a CA, from placed to downloaded (RFC 8555 §7.4)."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509

from proxyd.certs.acceptance import objection
from proxyd.certs.certificate import Certificate, InvalidCertificate, reading
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.clock import Clock
from proxyd.core.failure import FailureKind, IssuanceError, classify
from proxyd.core.problem import Problem
from proxyd.issuance.acme_error import AcmeProblem
from proxyd.issuance.acme_signer import AccountSigner
from proxyd.issuance.acme_transport import AcmeResponse, AcmeTransport
from proxyd.issuance.authorizer import Authorizer
from proxyd.issuance.csr import csr
from proxyd.issuance.issuer import Issuance
from proxyd.issuance.polling import poll
from proxyd.store.pending_orders import PendingOrder

_log = logging.getLogger("proxyd.issuance")
_MAX_AUTHORIZATIONS = 100
_STATES = ("pending", "ready", "processing", "valid", "invalid")


class AcmeOrder:
    """The way of one order. `is_proved`: the CA needs nothing more from us but time."""

    def __init__(
        self,
        *,
        order: CertificateOrder,
        pending: PendingOrder,
        transport: AcmeTransport,
        authorizer: Authorizer,
        signer: AccountSigner,
        clock: Clock,
        preferred_chain: str | None,
    ) -> None:
        self.pending = pending
        self.is_proved = False
        self._order = order
        self._transport = transport
        self._authorizer = authorizer
        self._signer = signer
        self._clock = clock
        self._preferred_chain = preferred_chain
        self._running: set[object] = set()  # authorizations that may be pending at the CA

    async def look(self) -> AcmeResponse:
        """Ask the CA how the order stands. Raises IssuanceError."""
        return await self._transport.post(self.pending.url, None, self._signer)

    async def complete(self, now: AcmeResponse, challenges: Sequence[str]) -> Issuance:
        """Go on from how the order stands to the certificate. Raises IssuanceError. Bound the time from outside."""
        proved = None
        if self._state(now) == "pending":
            proved = await self._prove(now.json, challenges)
        self.is_proved = True
        for _ in range(2):
            if self._state(now) in ("pending", "ready"):
                now = await self._finalize(now)
        if self._state(now) not in ("valid", "invalid"):
            now = await self._poll("valid", "invalid")
        if self._state(now) != "valid":
            raise self.failure(now)
        try:
            certificate = await self._download(now.json.get("certificate"))
        except IssuanceError as error:
            error.is_issued = True
            raise
        return Issuance(certificate=certificate, challenge=proved, account=self.pending.account or None)

    def failure(self, now: AcmeResponse) -> IssuanceError:
        """Return how an order failed, by what it says itself."""
        problem = Problem.parse(now.json.get("error"), status=0)
        return self._error(f"failed the order: {problem}", f"failed an order: {problem.title}", problem)

    async def why_invalid(self, now: AcmeResponse) -> IssuanceError:
        """Return how an order failed of which nobody saw the end: its authorizations say more than it does."""
        try:
            for url in self._authorizations(now.json):
                if failed := await self._authorizer.failure(self._order.names, url, self._signer):
                    return failed
        except IssuanceError as error:
            _log.debug("why an order failed is not told", extra={"host": self._order.host, "reason": str(error)})
        return self.failure(now)

    async def give_up(self, now: AcmeResponse | None = None) -> None:
        """Leave no authorization pending at the CA. Never raises IssuanceError."""
        if now is not None and now.json.get("status") == "pending":
            self._running = {*self._authorizations(now.json)}
        await self._authorizer.give_up(self._running, self._signer)

    def _state(self, now: AcmeResponse) -> str:
        state = now.json.get("status")
        if state not in _STATES:
            shown = ascii(state)[:60]
            raise self._error(f"gave the order the status {shown}")
        return str(state)

    def _authorizations(self, document: Mapping[str, Any]) -> list[object]:
        urls = document.get("authorizations")
        if not isinstance(urls, list) or not 0 < len(urls) <= _MAX_AUTHORIZATIONS:
            found = len(urls) if isinstance(urls, list) else "no"
            raise self._error(f"sent an order with {found} authorizations")
        return list(dict.fromkeys(url for url in urls if isinstance(url, str))) or [None]

    async def _prove(self, document: Mapping[str, Any], challenges: Sequence[str]) -> str | None:
        """Prove all names at once; when one fails, the others end."""
        urls = self._authorizations(document)
        self._running = {*urls}
        names = self._order.names
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._authorizer.authorize(names, url, challenges, self._signer, self._running))
                    for url in urls
                ]
        except BaseExceptionGroup as failures:
            raise _gravest(failures) from None
        return next((kind for task in tasks if (kind := task.result())), None)

    async def _finalize(self, now: AcmeResponse) -> AcmeResponse:
        payload = {"csr": csr(self._order.names, self.pending.key)}
        try:
            answer = await self._transport.post(now.json.get("finalize"), payload, self._signer)
        except AcmeProblem as refused:
            if refused.problem.kind != "orderNotReady":  # it was slow to notice the proofs (§7.4)
                raise
            return await self._poll("ready", "processing", "valid", "invalid")
        return (
            answer
            if answer.json.get("status") in ("processing", "valid", "invalid")
            else await self._poll("processing", "valid", "invalid")
        )

    async def _poll(self, *states: str) -> AcmeResponse:
        def ended(document: Mapping[str, Any]) -> bool:
            return document.get("status") in states or document.get("status") not in _STATES

        return await poll(self._transport, self.pending.url, self._signer, ended)

    async def _download(self, url: object) -> Certificate:
        first = await self._transport.post(url, None, self._signer)
        certificate = self._checked(first.body)
        if self._preferred_chain is None or self._preferred_chain in _issuers(certificate):
            return certificate
        for alternate in first.alternates:
            try:
                other = self._checked((await self._transport.post(alternate, None, self._signer)).body)
            except IssuanceError as error:  # the chain in hand is good
                _log.warning("an alternate chain is of no use", extra={"host": self._order.host, "reason": str(error)})
                continue
            if self._preferred_chain in _issuers(other):
                return other
        _log.warning(
            "the CA does not offer acme.preferred_chain; its own choice is used",
            extra={
                "host": self._order.host,
                "wanted": self._preferred_chain,
                "chain": ", ".join(_issuers(certificate))[:500],
            },
        )
        return certificate

    def _checked(self, chain: bytes) -> Certificate:
        """Never trust what the CA sent: it must be for our key and our names, valid now, its chain unbroken."""
        try:
            certificate = Certificate.assemble(self.pending.key, chain)
        except InvalidCertificate as error:
            raise self._error(f"sent a certificate that is none: {error}", "sent a certificate that is none") from None
        if wrong := objection(certificate, self._order.names, self._clock.now()):
            raise self._error(f"sent a certificate {wrong}", "sent a certificate that cannot serve")
        return certificate

    def _error(self, did: str, cause: str | None = None, problem: Problem | None = None) -> IssuanceError:
        ca = f"the CA {self.pending.issuer}"
        kind = FailureKind.CA if problem is None else classify(problem)
        return IssuanceError(kind, f"{ca} {did}", host=self._order.host, cause=f"{ca} {cause or did}", problem=problem)


def _issuers(certificate: Certificate) -> list[str]:
    """Return the common names of whoever signed each link: the last one names the root."""
    try:
        with reading():
            chain = x509.load_pem_x509_certificates(certificate.pem)
            names = [one.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME) for one in chain]
    except InvalidCertificate:  # it still may serve: browsers need not look at the last part
        return []
    return [str(found[0].value) for found in names if found]


def _gravest(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that decides the schedule; one that nobody foresaw comes first."""
    flat = [_gravest(one) if isinstance(one, BaseExceptionGroup) else one for one in group.exceptions]
    return next((one for one in flat if not isinstance(one, IssuanceError)), flat[0])
