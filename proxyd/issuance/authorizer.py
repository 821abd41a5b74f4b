"""Proves control of the names of an order (RFC 8555 §7.5)."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from proxyd.core.failure import FailureKind, IssuanceError, classify
from proxyd.core.hostname import Hostname
from proxyd.core.problem import Problem
from proxyd.issuance.acme_transport import AccountSigner, AcmeTransport
from proxyd.issuance.challenge_solver import ChallengeSolver
from proxyd.issuance.polling import poll

_log = logging.getLogger("proxyd.issuance")
_CLEAN_UP_SECONDS = 10.0
#: step-ca leaves a failed challenge pending with an error in it, for ever: give up at this many looks with an error.
_LOOKS_AT_AN_ERROR = 3


class Authorizer:
    """Answers the challenges of one CA."""

    def __init__(self, *, issuer: str, transport: AcmeTransport, solvers: Sequence[ChallengeSolver]) -> None:
        self._issuer = issuer
        self._transport = transport
        self._solvers = {solver.kind: solver for solver in solvers}

    async def authorize(
        self, names: Sequence[Hostname], url: object, kinds: Sequence[str], signer: AccountSigner
    ) -> str | None:
        """Prove one name by the first of `kinds` that the CA offers; return it, None when no proof was needed.

        Raises IssuanceError. What is pending afterwards is deactivated (§7.5.2): it would count against the account.
        """
        authorization = (await self._transport.post(url, None, signer)).json
        if authorization.get("status") == "valid":
            return None
        name = self._name(names, authorization)
        challenge, solver = self._choose(name, authorization, kinds)
        done = False
        try:
            await solver.present(name, challenge, signer.thumbprint)
            await self._transport.post(challenge.get("url"), {}, signer)
            ended = await self._end(url, solver.kind, signer)
            done = True
        finally:
            await asyncio.shield(self._clean_up(name, challenge, solver, None if done else url, signer))
        if ended.get("status") != "valid":
            raise _validation_failed(name, self._issuer, solver.kind, ended)
        return solver.kind

    async def deactivate(self, url: object, signer: AccountSigner) -> None:
        """Give an authorization up. Failures are only logged: the CA forgets it by itself some day."""
        try:
            async with asyncio.timeout(_CLEAN_UP_SECONDS):
                await self._transport.post(url, {"status": "deactivated"}, signer)
        except (IssuanceError, TimeoutError) as error:
            _log.debug("authorization not deactivated", extra={"issuer": self._issuer, "reason": str(error)})

    def _name(self, names: Sequence[Hostname], authorization: Mapping[str, Any]) -> Hostname:
        identifier = authorization.get("identifier")
        value = str(identifier.get("value")) if isinstance(identifier, Mapping) else ""
        name = Hostname.from_wire(value)
        if name is None or name not in names:
            message = f"{names[0]}: the CA {self._issuer} wants proof for {value[:100]!r}, which was not asked for"
            raise IssuanceError(FailureKind.CA, message)
        return name

    def _choose(
        self, name: Hostname, authorization: Mapping[str, Any], kinds: Sequence[str]
    ) -> tuple[Mapping[str, Any], ChallengeSolver]:
        offered = authorization.get("challenges")
        challenges = [one for one in offered if isinstance(one, dict)] if isinstance(offered, list) else []
        for kind in kinds:
            for challenge in challenges:
                if challenge.get("type") == kind and kind in self._solvers:
                    return challenge, self._solvers[kind]
        seen = ", ".join(sorted(str(one.get("type"))[:40] for one in challenges)) or "nothing"
        message = f"{name}: the CA {self._issuer} offers {seen}, acme.challenges allows {', '.join(kinds)}"
        raise IssuanceError(FailureKind.HOST_REFUSED, message)

    async def _end(self, url: object, kind: str, signer: AccountSigner) -> Mapping[str, Any]:
        looks = 0

        def ended(authorization: Mapping[str, Any]) -> bool:
            nonlocal looks
            looks += _error(authorization, kind) is not None
            # "deactivated", "expired" and "revoked" are ends too (§7.1.6).
            return authorization.get("status") not in ("pending", "processing") or looks >= _LOOKS_AT_AN_ERROR

        return (await poll(self._transport, url, signer, ended)).json

    async def _clean_up(
        self, name: Hostname, challenge: Mapping[str, Any], solver: ChallengeSolver, url: object, signer: AccountSigner
    ) -> None:
        await solver.clean_up(name, challenge)
        if url is not None:
            await self.deactivate(url, signer)


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


def _error(authorization: Mapping[str, Any], kind: str) -> object:
    challenges = authorization.get("challenges")
    found = [one for one in challenges if isinstance(one, dict)] if isinstance(challenges, list) else []
    errors = sorted((one.get("type") != kind, index) for index, one in enumerate(found) if one.get("error"))
    return found[errors[0][1]]["error"] if errors else None


def _validation_failed(name: Hostname, issuer: str, kind: str, authorization: Mapping[str, Any]) -> IssuanceError:
    problem = Problem.parse(_error(authorization, kind), status=0)
    status = str(authorization.get("status"))[:20]
    advice = _ADVICE.get((problem.kind, kind)) or _ADVICE.get((problem.kind, None)) or "look at what the CA says"
    message = (
        f"{name}: {issuer} could not validate the name by {kind} ({status}): {problem}; {advice.format(name=name)}"
    )
    # An authorization that ended without a problem failed all the same.
    found = FailureKind.VALIDATION if problem.kind == "none" else classify(problem)
    return IssuanceError(found, message, problem=problem, challenge=kind)
