"""Why an issuance failed, classified where it was noticed: the class decides when to try again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from proxyd.core.hostname import Hostname
from proxyd.core.problem import Problem


class FailureKind(Enum):
    """Whose trouble it is, which decides the schedule (core/backoff.py)."""

    VALIDATION = "validation"  # the CA could not confirm that we control the name
    CA = "ca"  # the CA is down, slow, or answers nonsense
    RATE_LIMITED = "rate limited"  # the CA, or our mirror of its limits, says not now
    HOST_REFUSED = "refused"  # the same request for this host can never succeed
    PAUSED = "paused"  # the CA paused the name until a person unpauses it
    ACCOUNT_REFUSED = "account refused"  # no request of this account can succeed
    LOCAL = "local"  # this machine: disk, clock
    UNUSABLE = "unusable"  # the CA gave a certificate that must not serve, or is to be renewed already


class IssuanceError(Exception):
    """An order that gave no certificate. The text names the host, what failed, why, and the next step.

    `cause` is what others are told who wait for the same trouble: `message` where that names no host by itself.
    `is_issued`: the CA issued a certificate all the same, and counts it.
    """

    is_issued = False

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        host: Hostname | None = None,
        cause: str | None = None,
        problem: Problem | None = None,
        retry_after: timedelta | None = None,
        challenge: str | None = None,
        name: Hostname | None = None,
        addresses: tuple[str, ...] = (),
        is_of_one_ca: bool = False,
    ) -> None:
        text = message if host is None else f"{host}: {message}"
        super().__init__(text)
        asked = retry_after if retry_after is not None else problem.retry_after if problem else None
        self.failure = Failure(
            kind=kind,
            message=text,
            cause=message if cause is None else cause,
            retry_after=asked,
            retry_at=problem.retry_at if problem else None,
            problem=problem.kind if problem else None,
            challenge=challenge,
            name=name,
            limit=problem.limit if problem else None,
            limited=problem.limited if problem else (),
            addresses=addresses,
            is_of_one_ca=is_of_one_ca,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed attempt as a value: kept in the state of the certificate.

    `cause` is the message without the name of any host, empty when it is nobody else's trouble; `problem` is the ACME
    problem type, `challenge` the challenge type that failed, `name` the name that was not proved; `limit`: which of the
    CA's limits said no, by its name in core/rate_ledger.py, `limited`: of which names or domains, as far as it told.
    `addresses`: where the CA looked for us, by its own words.
    `is_anothers_turn`: nothing was sent, because another process orders for the same cache; `is_ceiling`: because of
    our own ceiling (core/circuit_breaker.py); `is_of_one_ca`: because this machine cannot ask that CA for this host;
    `is_taken_back`: clients were shown another certificate than the new one.
    """

    kind: FailureKind
    message: str
    cause: str = ""
    retry_after: timedelta | None = None
    retry_at: datetime | None = None
    problem: str | None = None
    challenge: str | None = None
    name: Hostname | None = None
    limit: str | None = None
    limited: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    is_anothers_turn: bool = False
    is_ceiling: bool = False
    is_of_one_ca: bool = False
    is_taken_back: bool = False

    @property
    def may_be_dns(self) -> bool:
        """Whether a change of the host's DNS, CAA record or firewall could end it."""
        return self.kind is FailureKind.VALIDATION

    @property
    def wants_terms(self) -> bool:
        """Whether the CA wants its new terms accepted by a person (RFC 8555 §7.3.3)."""
        return self.kind is FailureKind.ACCOUNT_REFUSED and self.problem in ("userActionRequired", "agreementRequired")

    def to_document(self) -> dict[str, object]:
        """Return what is still of interest after a restart, as JSON values."""
        return {
            "kind": self.kind.value,
            "message": self.message,
            "cause": self.cause,
            "problem": self.problem,
            "challenge": self.challenge,
            "name": self.name.text if self.name else None,
            "is_anothers_turn": self.is_anothers_turn,
            "is_taken_back": self.is_taken_back,
        }

    @classmethod
    def read(cls, document: object) -> "Failure | None":
        """Return the failure that `to_document` gave, or None."""
        fields = document if isinstance(document, Mapping) else {}
        texts = {key: str(fields.get(key) or "") for key in ("message", "cause", "problem", "challenge", "name")}
        try:
            kind = FailureKind(fields.get("kind"))
        except ValueError:
            return None
        return cls(
            kind=kind,
            message=texts["message"],
            cause=texts["cause"],
            problem=texts["problem"] or None,
            challenge=texts["challenge"] or None,
            name=Hostname.from_wire(texts["name"]),
            is_anothers_turn=fields.get("is_anothers_turn") is True,
            is_taken_back=fields.get("is_taken_back") is True,
        )


_V, _CA, _HOST, _ACCOUNT = (
    FailureKind.VALIDATION,
    FailureKind.CA,
    FailureKind.HOST_REFUSED,
    FailureKind.ACCOUNT_REFUSED,
)
#: The one table from problem type to class (RFC 8555 §6.7, draft-ietf-acme-profiles); the rest is the CA's trouble.
_CLASSES = {
    "caa": _V,
    "connection": _V,
    "dns": _V,
    "dnssec": _V,
    "incorrectResponse": _V,
    "tls": _V,
    "unauthorized": _V,
    "rateLimited": FailureKind.RATE_LIMITED,
    "rejectedIdentifier": _HOST,
    "unsupportedIdentifier": _HOST,
    "badCSR": _HOST,
    "badPublicKey": _HOST,
    "invalidProfile": _HOST,
    "userActionRequired": _ACCOUNT,
    "externalAccountRequired": _ACCOUNT,
    "agreementRequired": _ACCOUNT,
    "invalidContact": _ACCOUNT,
    "unsupportedContact": _ACCOUNT,
    "badSignatureAlgorithm": _ACCOUNT,
    "accountDoesNotExist": _CA,  # a new account is made at the next try
    "serverInternal": _CA,
}


def classify(problem: Problem) -> FailureKind:
    """Map what the CA said to a class. A compound problem takes the class of its gravest part."""
    return _class(problem) or _CA


def classify_proof(problem: Problem) -> FailureKind:
    """Map what a challenge says. It concerns the name, also by a type that elsewhere is the CA's trouble.

    Pebble calls a name without addresses "malformed".
    """
    return _class(problem) or _V


def _class(problem: Problem) -> FailureKind | None:
    """Return None for what the table does not know."""
    if problem.kind == "rateLimited" or problem.status == 429 or problem.is_pause:
        return FailureKind.PAUSED if problem.is_pause else FailureKind.RATE_LIMITED
    if problem.status >= 500:
        return _CA
    classes = [_CLASSES[one.kind] for one in (*problem.subproblems, problem) if one.kind in _CLASSES]
    grave = (_ACCOUNT, _HOST, FailureKind.RATE_LIMITED, _V, _CA)
    return next((one for one in grave if one in classes), None)
