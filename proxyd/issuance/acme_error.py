"""What can go wrong between us and a CA."""

import os
from collections.abc import Iterable

import aiohttp

from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.core.problem import Problem


class AcmeProblem(IssuanceError):
    """The CA answered with a problem document; `refused` says who refused what."""

    def __init__(self, kind: FailureKind, refused: str, problem: Problem, *, advice: str = "") -> None:
        if problem.kind == "userActionRequired":
            terms = f"terms at {problem.page} and" if problem.page else "terms,"  # no sign that seems the URL's
            advice = f"; read and accept the CA's new {terms} then `proxyd renew`"
        super().__init__(
            kind, f"{refused}: {problem}{advice}", cause=f"{refused}: {problem.title}{advice}", problem=problem
        )
        self.problem = problem


class NetworkTrouble(IssuanceError):
    """No answer came, or half of one: what was asked may have been done."""


class UnfinishedOrder(IssuanceError):
    """The order lives on at the CA and is kept: the next attempt goes on with it."""


class BadNonce(Exception):
    """The CA refused the nonce; `nonce` is the one to use instead."""

    def __init__(self, nonce: str | None) -> None:
        super().__init__("badNonce")
        self.nonce = nonce


def may_pass(error: IssuanceError) -> bool:
    """Whether the same request may succeed later: the network, the CA's own trouble, or a limit."""
    if isinstance(error, AcmeProblem):
        return error.problem.status >= 500 or error.problem.status == 429 or error.problem.kind == "rateLimited"
    return isinstance(error, NetworkTrouble)


def account_is_lost(files: Iterable[str]) -> str:
    """Return what to do about an account that the CA does not take any more; `files` hold its key."""
    key = " and ".join(files) or "acme_account+key"
    return f"; the account is of no use any more: move its key ({key}) away, a new one is made"


def network_message(ca: str, error: BaseException, *, seconds: float) -> str:
    """Return what failed, why, and the next step."""
    who = f"the CA {ca}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
        if "expired" in reason or "not yet valid" in reason:
            return (
                f"{who} shows a certificate that is not valid by the clock of this machine ({reason}): check it "
                "(timedatectl)"
            )
        return f"{who} is not trusted ({reason}): for a private CA set acme.ca_bundle to its root certificate (PEM)"
    if isinstance(error, TimeoutError):
        return f"{who} did not answer within {seconds:.0f} s: check the network and firewall of this machine"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0  # asyncio's own text shows only the address
        reason = os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
        return f"{who} cannot be reached ({reason}): check network, DNS and acme.server"
    text = "".join(char if char.isprintable() else " " for char in str(error)[:200])
    return f"{who} broke off ({type(error).__name__}: {text})"
