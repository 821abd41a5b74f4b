"""Certificates by ACME (RFC 8555): order, authorizations, finalize, download."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import josepy
from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.certs.key import PrivateKey, generate_key
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.clock import Clock
from proxyd.core.failure import FailureKind, IssuanceError, classify
from proxyd.core.hostname import Hostname
from proxyd.core.problem import Problem
from proxyd.core.renewal import parse_window
from proxyd.issuance.acme_account import AcmeAccount
from proxyd.issuance.acme_transport import AccountSigner, AcmeProblem, AcmeResponse, AcmeTransport
from proxyd.issuance.authorizer import Authorizer
from proxyd.issuance.issuer import Issuance, ReplacesRefused, WindowAnswer
from proxyd.issuance.polling import poll

_log = logging.getLogger("proxyd.issuance")
_ORDER_SECONDS = 600.0  # for everything
_WINDOW_SECONDS = 60.0
_CLOCK_SLACK = timedelta(hours=1)
_MAX_AUTHORIZATIONS = 100
_KEY_COMPROMISE = 1


class AcmeIssuer:
    """Implements Issuer for one account at one CA."""

    def __init__(
        self,
        *,
        name: str,
        transport: AcmeTransport,
        account: AcmeAccount,
        authorizer: Authorizer,
        clock: Clock,
        profile: str | None = None,
        preferred_chain: str | None = None,
        order_seconds: float = _ORDER_SECONDS,
    ) -> None:
        self.name = name
        self.account = account
        self._transport = transport
        self._authorizer = authorizer
        self._clock = clock
        self._profile = profile
        self._preferred_chain = preferred_chain
        self._order_seconds = order_seconds

    async def issue(self, order: CertificateOrder, challenges: Sequence[str]) -> Issuance:
        try:
            async with asyncio.timeout(self._order_seconds):
                return await self._issue(order, challenges)
        except TimeoutError:
            message = f"{order.host}: the CA {self.name} did not finish the order within {self._order_seconds:.0f} s"
            raise IssuanceError(FailureKind.CA, message) from None

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
        leaf = x509.load_pem_x509_certificates(certificate.pem)[0].public_bytes(serialization.Encoding.DER)
        payload = {"certificate": josepy.b64encode(leaf).decode(), "reason": reason}
        try:
            await self._transport.post(url, payload, await self.account.signer())
        except AcmeProblem as refused:
            if refused.problem.kind != "alreadyRevoked":
                raise

    async def _issue(self, order: CertificateOrder, challenges: Sequence[str]) -> Issuance:
        await self._check_profile(order.host)
        key = await asyncio.to_thread(generate_key, order.key_kind)
        placed, signer = await self._new_order(order)
        authorizations = placed.json.get("authorizations")
        if placed.location is None or not isinstance(authorizations, list):
            authorizations = []
        if placed.location is None or not 0 < len(authorizations) <= _MAX_AUTHORIZATIONS:
            raise IssuanceError(FailureKind.CA, f"{order.host}: the CA {self.name} answered with an order that is none")
        _log.info("order placed", extra={"host": order.host, "issuer": self.name, "order": placed.location})
        proved = await self._authorize(order, authorizations, challenges, signer)
        await self._transport.post(placed.json.get("finalize"), {"csr": _csr(order.names, key)}, signer)
        done = await poll(
            self._transport, placed.location, signer, lambda now: now.get("status") in ("valid", "invalid")
        )
        if done.json.get("status") != "valid":
            problem = Problem.parse(done.json.get("error"), status=0)
            message = f"{order.host}: the CA {self.name} failed the order: {problem}"
            raise IssuanceError(classify(problem), message, problem=problem)
        certificate = await self._download(order, key, done.json.get("certificate"), signer)
        return Issuance(certificate=certificate, challenge=proved)

    async def _authorize(
        self, order: CertificateOrder, urls: Sequence[object], challenges: Sequence[str], signer: AccountSigner
    ) -> str | None:
        """Prove all names at once; when one fails, the others are given up."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._authorizer.authorize(order.names, url, challenges, signer)) for url in urls
                ]
        except BaseExceptionGroup as failures:
            raise _gravest(failures) from None
        return next((kind for task in tasks if (kind := task.result())), None)

    async def _new_order(self, order: CertificateOrder) -> tuple[AcmeResponse, AccountSigner]:
        payload: dict[str, Any] = {"identifiers": [_identifier(name) for name in order.names]}
        if self._profile:
            payload["profile"] = self._profile
        if order.replaces and await self.has_windows():
            payload["replaces"] = order.replaces
        signer = await self.account.signer()
        url = (await self._transport.directory())["newOrder"]
        try:
            return await self._transport.post(url, payload, signer), signer
        except AcmeProblem as refused:
            if refused.problem.kind == "accountDoesNotExist":
                _log.warning("the CA forgot our account: making it again", extra={"issuer": self.name})
                self.account.forget(signer)
                signer = await self.account.signer()
                return await self._transport.post(url, payload, signer), signer
            if "replaces" in payload and _is_about_replaces(refused.problem):
                raise ReplacesRefused(FailureKind.CA, f"{order.host}: {refused}", problem=refused.problem) from refused
            raise self._explained(order.host, refused) from refused

    async def _check_profile(self, host: Hostname) -> None:
        if self._profile is None:
            return
        meta = (await self._transport.directory()).get("meta")
        profiles = meta.get("profiles") if isinstance(meta, Mapping) else None
        offered = [str(one)[:60] for one in profiles] if isinstance(profiles, Mapping) else []
        if self._profile not in offered:
            message = (
                f"{host}: the CA {self.name} has no profile {self._profile!r}: set acme.profile to "
                f"{' or '.join(sorted(offered)[:20]) or 'null, it has none'}"
            )
            raise IssuanceError(FailureKind.HOST_REFUSED, message)

    def _explained(self, host: Hostname, refused: AcmeProblem) -> IssuanceError:
        problem, advice = refused.problem, ""
        if url := problem.unpause_url:
            advice = f"; the CA paused this name after too many failures: mend its DNS, then unpause it at {url}"
        elif problem.kind == "externalAccountRequired":
            advice = "; set acme.eab to the kid and hmac_key that the CA gave you"
        elif problem.kind == "userActionRequired":
            advice = "; read and accept the CA's terms there, then `proxyd renew`"
        return IssuanceError(refused.failure.kind, f"{host}: {refused}{advice}", problem=problem)

    async def _download(
        self, order: CertificateOrder, key: PrivateKey, url: object, signer: AccountSigner
    ) -> Certificate:
        first = await self._transport.post(url, None, signer)
        certificate = self._checked(order, key, first.body)
        if self._preferred_chain is None or self._preferred_chain in _issuers(certificate):
            return certificate
        for alternate in first.alternates:
            other = self._checked(order, key, (await self._transport.post(alternate, None, signer)).body)
            if self._preferred_chain in _issuers(other):
                return other
        _log.warning(
            "the CA does not offer acme.preferred_chain; its own choice is used",
            extra={"host": order.host, "wanted": self._preferred_chain, "chain": ", ".join(_issuers(certificate))},
        )
        return certificate

    def _checked(self, order: CertificateOrder, key: PrivateKey, chain: bytes) -> Certificate:
        """Never trust what the CA sent: it must be for our key and our names, and valid now."""
        host = order.host
        try:
            certificate = Certificate.assemble(key, chain)
        except InvalidCertificate as error:
            raise IssuanceError(
                FailureKind.CA, f"{host}: the CA {self.name} sent a certificate that is none: {error}"
            ) from None
        now = self._clock.now()
        if certificate.names != frozenset(order.names):
            names = ", ".join(sorted(map(str, certificate.names)))[:200]
            raise IssuanceError(FailureKind.CA, f"{host}: the CA {self.name} sent a certificate for {names}")
        if not certificate.not_before - _CLOCK_SLACK <= now < certificate.not_after:
            raise IssuanceError(
                FailureKind.CA,
                f"{host}: the CA {self.name} sent a certificate that is not valid now ({certificate.not_before} to "
                f"{certificate.not_after}): check the clock of this machine",
            )
        return certificate


def _issuers(certificate: Certificate) -> list[str]:
    """Return the common names of whoever signed each link: the last one names the root."""
    chain = x509.load_pem_x509_certificates(certificate.pem)
    names = (one.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME) for one in chain)
    return [str(found[0].value) for found in names if found]


def _is_about_replaces(problem: Problem) -> bool:
    if problem.status == 409 or problem.kind == "alreadyReplaced":
        return True
    return problem.status in (400, 404) and any(
        word in str(problem).lower() for word in ("replac", "certid", "ari ", "renewalinfo")
    )


def _identifier(name: Hostname) -> dict[str, Any]:
    if name.is_ip_address:  # RFC 8738
        return {"type": "ip", "value": name.text}
    return dict(messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name.text).to_json())


def _csr(names: Sequence[Hostname], key: PrivateKey) -> str:
    alternatives = x509.SubjectAlternativeName(
        [x509.IPAddress(ip_address(one.text)) if one.is_ip_address else x509.DNSName(one.text) for one in names]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    return josepy.b64encode(signed.public_bytes(serialization.Encoding.DER)).decode()


def _gravest(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that decides the schedule; one that nobody foresaw comes first."""
    flat = [_gravest(one) if isinstance(one, BaseExceptionGroup) else one for one in group.exceptions]
    return next((one for one in flat if not isinstance(one, IssuanceError)), flat[0])
