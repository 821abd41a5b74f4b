"""Why an issuance failed, classified where it was noticed: the class decides when to try again."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from proxyd.core.problem import Problem


class FailureKind(Enum):
    """Whose trouble it is."""

    VALIDATION = "validation"  # the CA could not confirm that we control the name
    CA = "ca"  # the CA is down, slow, or answers nonsense
    RATE_LIMITED = "rate limited"  # the CA says not now
    PERMANENT = "permanent"  # the same request can never succeed
    LOCAL = "local"  # this machine: disk, clock


class IssuanceError(Exception):
    """An order that gave no certificate. The text names what failed, why, and the next step."""

    def __init__(self, kind: FailureKind, message: str, *, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(kind=kind, message=message, retry_after=problem.retry_after if problem else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed attempt as a value: kept in the state of the certificate."""

    kind: FailureKind
    message: str
    retry_after: timedelta | None = None


_VALIDATION = frozenset({"caa", "connection", "dns", "dnssec", "incorrectResponse", "tls", "unauthorized", "compound"})
_PERMANENT = frozenset(
    {
        "accountDoesNotExist",
        "agreementRequired",
        "badCSR",
        "externalAccountRequired",
        "invalidContact",
        "invalidProfile",
    }
    | {
        "rejectedIdentifier",
        "unsupportedContact",
        "unsupportedIdentifier",
        "userActionRequired",
        "badPublicKey",
    }
)


def classify(problem: Problem) -> FailureKind:
    """Map what the CA said to a class (RFC 8555 §6.7): one table for the whole program."""
    if problem.kind == "rateLimited" or problem.status == 429:
        return FailureKind.RATE_LIMITED
    if problem.status >= 500 or problem.kind in ("serverInternal", "badNonce"):
        return FailureKind.CA
    kinds = {problem.kind, *(one.kind for one in problem.subproblems)}
    if kinds & _VALIDATION:
        return FailureKind.VALIDATION
    if kinds & _PERMANENT:
        return FailureKind.PERMANENT
    return FailureKind.CA
