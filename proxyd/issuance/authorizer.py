"""Proves control of the names of an order (RFC 8555 §7.5)."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from proxyd.core.failure import FailureKind, IssuanceError, classify_proof
from proxyd.core.hostname import Hostname
from proxyd.core.problem import Problem
from proxyd.issuance.acme_signer import AccountSigner
from proxyd.issuance.acme_transport import AcmeTransport
from proxyd.issuance.challenge_solver import ChallengeSolver
from proxyd.issuance.polling import poll

_log = logging.getLogger("proxyd.issuance")
_GIVE_UP_SECONDS = 10.0
#: step-ca leaves a failed challenge pending with an error in it, for ever: give up at this many looks with an error.
_LOOKS_AT_AN_ERROR = 3
_RUNNING = ("pending", "processing")
_ENDED = ("valid", "invalid", "deactivated", "expired", "revoked")
_MAX_RECORDS = 10


class Authorizer:
    """Answers the challenges of one CA."""

    def __init__(self, *, issuer: str, transport: AcmeTransport, solvers: Sequence[ChallengeSolver]) -> None:
        self._issuer = issuer
        self._transport = transport
        self._solvers = {solver.kind: solver for solver in solvers}

    async def authorize(
        self, names: Sequence[Hostname], url: object, kinds: Sequence[str], signer: AccountSigner, running: set[object]
    ) -> str | None:
        """Prove one name by the first of `kinds` that the CA offers; return it, None when no proof was needed.

        Takes `url` out of `running` once the CA has ended the authorization. Raises IssuanceError.
        """
        authorization = (await self._transport.post(url, None, signer)).json
        name = self._name(names, authorization)
        if authorization.get("status") == "valid":
            running.discard(url)
            return None
        challenge, solver = self._choose(name, authorization, kinds)
        try:
            if authorization.get("status") in _RUNNING:
                await solver.present(name, challenge, signer.thumbprint)
                if challenge.get("status", "pending") == "pending":  # else it was answered before a restart
                    await self._transport.post(challenge.get("url"), {}, signer, repeatable=True)
                authorization = await self._end(url, solver.kind, signer)
        finally:
            await asyncio.shield(solver.clean_up(name, challenge))
        status = authorization.get("status")
        if status not in _RUNNING:
            running.discard(url)
        if status not in (*_RUNNING, *_ENDED):
            shown = ascii(status)[:60]
            message = f"the CA {self._issuer} gave the authorization a status that does not exist: {shown}"
            raise IssuanceError(FailureKind.CA, message, host=name)
        if status != "valid":
            raise _validation_failed(name, self._issuer, solver.kind, authorization)
        return solver.kind

    async def failure(self, names: Sequence[Hostname], url: object, signer: AccountSigner) -> IssuanceError | None:
        """Return how an authorization failed before this; None: it did not. Raises IssuanceError."""
        authorization = (await self._transport.post(url, None, signer)).json
        if authorization.get("status") != "invalid":
            return None
        tried = next((one for one in _challenges(authorization) if one.get("error")), {})
        name, kind = self._name(names, authorization), tried.get("type")
        return _validation_failed(name, self._issuer, kind if kind in self._solvers else "its challenge", authorization)

    async def give_up(self, urls: Iterable[object], signer: AccountSigner) -> None:
        """Deactivate authorizations (§7.5.2): while they are pending they count against the account.

        Failures are only logged: the CA forgets them by itself some day.
        """
        try:
            async with asyncio.timeout(_GIVE_UP_SECONDS), asyncio.TaskGroup() as group:
                for url in urls:
                    group.create_task(self._deactivate(url, signer))
        except TimeoutError:
            _log.debug("the CA was slow to deactivate authorizations", extra={"issuer": self._issuer})

    async def _deactivate(self, url: object, signer: AccountSigner) -> None:
        try:
            await self._transport.post(url, {"status": "deactivated"}, signer, repeatable=True)
        except IssuanceError as error:
            _log.debug("authorization not deactivated", extra={"issuer": self._issuer, "reason": str(error)})
        else:
            _log.debug("authorization deactivated", extra={"issuer": self._issuer, "url": url})

    def _name(self, names: Sequence[Hostname], authorization: Mapping[str, Any]) -> Hostname:
        identifier = authorization.get("identifier")
        value = str(identifier.get("value")) if isinstance(identifier, Mapping) else ""
        name = Hostname.from_wire(value)
        if name is None or name not in names:
            wants = f"the CA {self._issuer} wants proof for"
            message = f"{wants} {value[:100]!a}, which was not asked for"
            cause = f"{wants} names that were not asked for"
            raise IssuanceError(FailureKind.CA, message, host=names[0], cause=cause)
        return name

    def _choose(
        self, name: Hostname, authorization: Mapping[str, Any], kinds: Sequence[str]
    ) -> tuple[Mapping[str, Any], ChallengeSolver]:
        challenges = _challenges(authorization)
        for kind in kinds:
            for challenge in challenges:
                if challenge.get("type") == kind and kind in self._solvers:
                    return challenge, self._solvers[kind]
        seen = ", ".join(sorted(ascii(one.get("type"))[1:41] for one in challenges)) or "nothing"
        message = f"the CA {self._issuer} offers {seen[:200]}, acme.challenges allows {', '.join(kinds)}"
        raise IssuanceError(FailureKind.HOST_REFUSED, message, host=name)

    async def _end(self, url: object, kind: str, signer: AccountSigner) -> Mapping[str, Any]:
        looks = 0

        def ended(authorization: Mapping[str, Any]) -> bool:
            nonlocal looks
            looks += _failed(authorization, kind) is not None
            # "deactivated", "expired" and "revoked" are ends too (§7.1.6).
            return authorization.get("status") not in _RUNNING or looks >= _LOOKS_AT_AN_ERROR

        return (await poll(self._transport, url, signer, ended)).json


_ADVICE = {
    ("connection", "http-01"): "the CA could not connect to http://{name}/ (port 80): open it in every firewall, and "
    "let the A and AAAA records of {name} point to this machine",
    ("connection", "tls-alpn-01"): "the CA could not connect to {name} (port 443): open it in every firewall, and let "
    "the A and AAAA records of {name} point to this machine",
    ("dns", None): "the CA found no address for {name}: add an A or AAAA record that points to this machine",
    ("caa", None): "a CAA record of {name} or a parent forbids this CA: add it there or remove the record",
    ("unauthorized", "http-01"): "something else answered for http://{name}/: let its A and AAAA records point to this "
    "machine only",
    ("unauthorized", "tls-alpn-01"): "something else answered for {name} on port 443: let its A and AAAA records point "
    "to this machine only, with nothing in between that ends TLS",
}


_ELSE = "look at what the CA says, and let the A and AAAA records of {name} point to this machine"


def _challenges(authorization: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    offered = authorization.get("challenges")
    return [one for one in offered[:50] if isinstance(one, dict)] if isinstance(offered, list) else []


def _failed(authorization: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """Return the challenge with an error in it: the one that was tried, else the first."""
    found = [one for one in _challenges(authorization) if one.get("error")]
    return next((one for one in found if one.get("type") == kind), found[0] if found else None)


def _validation_failed(name: Hostname, issuer: str, kind: str, authorization: Mapping[str, Any]) -> IssuanceError:
    challenge = _failed(authorization, kind) or {}
    problem = Problem.parse(challenge.get("error"), status=0)
    status = str(authorization.get("status"))[:20]
    advice = _ADVICE.get((problem.reason, kind)) or _ADVICE.get((problem.reason, None)) or _ELSE
    told = f"{issuer} could not validate the name by {kind} ({status})"
    return IssuanceError(
        classify_proof(problem),  # one that ended without a problem failed all the same
        f"{told}: {problem}; {advice.format(name=name)}",
        host=name,
        cause=f"{told}: {problem.title}",
        problem=problem,
        challenge=kind,
        name=name,
        addresses=_addresses(challenge),
    )


def _addresses(challenge: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where the CA looked (validationRecord, by Let's Encrypt and Pebble), each as ADDRESS:PORT."""
    records = challenge.get("validationRecord")
    found: dict[str, None] = {}
    for record in records[:_MAX_RECORDS] if isinstance(records, list) else ():
        if not isinstance(record, Mapping):
            continue
        port = str(record.get("port"))
        try:
            address = ip_address(str(record.get("addressUsed")))
        except ValueError:
            continue
        shown = f"[{address}]" if address.version == 6 else str(address)
        found[f"{shown}:{port}" if port.isascii() and port.isdigit() and len(port) <= 5 else shown] = None
    return tuple(found)
