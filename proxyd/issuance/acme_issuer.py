"""Certificates by ACME (RFC 8555): account, order, authorizations, finalize, download."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import josepy
from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.certs.key import PrivateKey, generate_key
from proxyd.core.clock import Clock
from proxyd.core.failure import FailureKind, IssuanceError, classify
from proxyd.core.hostname import Hostname
from proxyd.core.problem import Problem
from proxyd.issuance.acme_transport import AccountSigner, AcmeProblem, AcmeResponse, AcmeTransport
from proxyd.issuance.challenge_solver import ChallengeSolver
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.store import StoreError

_log = logging.getLogger("proxyd.issuance")
_ORDER_DEADLINE = 600.0  # seconds for everything
_FIRST_POLL, _POLL_FACTOR, _LAST_POLL, _MAX_ASKED = 0.1, 1.6, 10.0, 60.0
_CLOCK_SLACK = timedelta(hours=1)


class AcmeIssuer:
    """Implements Issuer for one account at one CA."""

    def __init__(
        self,
        *,
        name: str,
        transport: AcmeTransport,
        store: CertificateStore,
        solver: ChallengeSolver,
        clock: Clock,
        email: str | None,
        key_type: str,
    ) -> None:
        self.name = name
        self._transport = transport
        self._store = store
        self._solver = solver
        self._clock = clock
        self._email = email
        self._key_type = key_type
        self._signer: AccountSigner | None = None
        self._registering = asyncio.Lock()

    async def issue(self, host: Hostname) -> Certificate:
        try:
            async with asyncio.timeout(_ORDER_DEADLINE):
                return await self._issue(host)
        except TimeoutError:
            message = f"{host}: the CA {self.name} did not finish the order within {_ORDER_DEADLINE:.0f} s"
            raise IssuanceError(FailureKind.CA, message) from None

    async def _issue(self, host: Hostname) -> Certificate:
        key = generate_key(self._key_type)
        order, signer = await self._new_order(host)
        authorizations = order.json.get("authorizations")
        if order.location is None or not isinstance(authorizations, list) or not 0 < len(authorizations) <= 100:
            raise IssuanceError(FailureKind.CA, f"{host}: the CA {self.name} answered with an order that is none")
        _log.info("order placed", extra={"host": host, "issuer": self.name, "order": order.location})
        try:
            async with asyncio.TaskGroup() as group:
                for url in authorizations:
                    group.create_task(self._authorize(host, url, signer))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        await self._transport.post(order.json.get("finalize"), {"csr": _csr(host, key)}, signer)
        done = await self._poll(order.location, signer, until=("valid", "invalid"))
        if done.json.get("status") != "valid":
            problem = Problem.parse(done.json.get("error"), status=0)
            raise IssuanceError(
                classify(problem), f"{host}: the CA {self.name} failed the order: {problem}", problem=problem
            )
        chain = await self._transport.post(done.json.get("certificate"), None, signer)
        return self._checked(host, key, chain.body)

    async def _new_order(self, host: Hostname) -> tuple[AcmeResponse, AccountSigner]:
        identifier = messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=host.text)
        payload = {"identifiers": [identifier.to_json()]}
        signer = await self._account()
        url = (await self._transport.directory())["newOrder"]
        try:
            return await self._transport.post(url, payload, signer), signer
        except AcmeProblem as refused:
            if refused.problem.kind != "accountDoesNotExist":
                raise
            _log.warning("the CA forgot our account: making it again", extra={"issuer": self.name})
            self._signer = None
            signer = await self._account()
            return await self._transport.post(url, payload, signer), signer

    async def _account(self) -> AccountSigner:
        """Return the account, registered at most once: with a known key the CA gives the existing one (§7.3)."""
        async with self._registering:
            if self._signer is None:
                key = await self._account_key()
                contact = {"contact": [f"mailto:{self._email}"]} if self._email else {}
                url = (await self._transport.directory())["newAccount"]
                signer = AccountSigner(key)
                answer = await self._transport.post(url, {"termsOfServiceAgreed": True, **contact}, signer)
                if answer.location is None:
                    raise IssuanceError(FailureKind.CA, f"the CA {self.name} made an account without a URL")
                _log.info(
                    "account made" if answer.status == 201 else "account found",
                    extra={"issuer": self.name, "account": answer.location},
                )
                self._signer = replace(signer, url=answer.location)
            return self._signer

    async def _account_key(self) -> PrivateKey:
        key = await asyncio.to_thread(self._store.load_account_key)
        if key is None:
            key = generate_key("p256")
            try:
                await asyncio.to_thread(self._store.save_account_key, key)
            except StoreError as error:  # never make an account that would be lost
                raise IssuanceError(FailureKind.LOCAL, f"the account key cannot be kept: {error}") from error
        return key

    async def _authorize(self, host: Hostname, url: object, signer: AccountSigner) -> None:
        authorization = (await self._transport.post(url, None, signer)).json
        if authorization.get("status") == "valid":
            return
        offered = authorization.get("challenges")
        challenges = [one for one in offered if isinstance(one, dict)] if isinstance(offered, list) else []
        challenge = next((one for one in challenges if one.get("type") == self._solver.kind), None)
        if challenge is None:
            kinds = ", ".join(sorted(str(one.get("type"))[:40] for one in challenges)) or "nothing"
            message = f"{host}: the CA {self.name} offers {kinds}, not {self._solver.kind}"
            raise IssuanceError(FailureKind.PERMANENT, message)
        try:
            await self._solver.present(host, challenge, _thumbprint(signer.key))
            await self._transport.post(challenge.get("url"), {}, signer)
            # "deactivated", "expired" and "revoked" are ends too (§7.1.6).
            done = await self._poll(url, signer, while_=("pending", "processing"))
        finally:
            await asyncio.shield(self._solver.clean_up(host, challenge))
        if done.json.get("status") != "valid":
            raise _validation_failed(host, self.name, done.json)

    async def _poll(
        self, url: object, signer: AccountSigner, *, until: tuple[str, ...] = (), while_: tuple[str, ...] = ()
    ) -> AcmeResponse:
        pause = _FIRST_POLL
        while True:
            response = await self._transport.post(url, None, signer)
            status = response.json.get("status")
            if status in until or (while_ and status not in while_):
                return response
            asked = response.retry_after.total_seconds() if response.retry_after else 0.0
            await asyncio.sleep(max(pause, min(asked, _MAX_ASKED)))
            pause = min(pause * _POLL_FACTOR, _LAST_POLL)

    def _checked(self, host: Hostname, key: PrivateKey, chain: bytes) -> Certificate:
        """Never trust what the CA sent: it must be for our key and our name, and valid now."""
        try:
            certificate = Certificate.assemble(key, chain)
        except InvalidCertificate as error:
            raise IssuanceError(
                FailureKind.CA, f"{host}: the CA {self.name} sent a certificate that is none: {error}"
            ) from None
        now = self._clock.now()
        if certificate.names != {host}:
            names = ", ".join(sorted(map(str, certificate.names)))[:200]
            raise IssuanceError(FailureKind.CA, f"{host}: the CA {self.name} sent a certificate for {names}")
        if not certificate.not_before - _CLOCK_SLACK <= now < certificate.not_after:
            raise IssuanceError(
                FailureKind.CA,
                f"{host}: the CA {self.name} sent a certificate that is not valid now ({certificate.not_before} to "
                f"{certificate.not_after}): check the clock of this machine",
            )
        return certificate


_ADVICE = {
    "connection": "the CA could not connect to http://{host}/ (port 80): open it in every firewall, and let the A and "
    "AAAA records of {host} point to this machine",
    "dns": "the CA found no address for {host}: add an A or AAAA record that points to this machine",
    "caa": "a CAA record of {host} or a parent forbids this CA: add it there or remove the record",
    "unauthorized": "something else answered for http://{host}/: let its A and AAAA records point to this machine only",
}


def _validation_failed(host: Hostname, issuer: str, authorization: Mapping[str, Any]) -> IssuanceError:
    challenges = authorization.get("challenges")
    errors = [one["error"] for one in challenges or [] if isinstance(one, dict) and one.get("error")]
    problem = Problem.parse(errors[0] if errors else None, status=0)
    status = str(authorization.get("status"))[:20]
    advice = _ADVICE.get(problem.kind, "look at what the CA says").format(host=host)
    message = f"{host}: {issuer} could not validate the name ({status}): {problem}; {advice}"
    return IssuanceError(FailureKind.VALIDATION, message, problem=problem)


def _thumbprint(key: PrivateKey) -> str:
    jwk = josepy.JWKEC(key=key) if isinstance(key, ec.EllipticCurvePrivateKey) else josepy.JWKRSA(key=key)
    return josepy.b64encode(jwk.thumbprint()).decode()


def _csr(host: Hostname, key: PrivateKey) -> str:
    names = x509.SubjectAlternativeName([x509.DNSName(host.text)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    return josepy.b64encode(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)).decode()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
