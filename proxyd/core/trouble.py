"""What a person should hear of, wherever that person is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, IntEnum

from proxyd.core.failure import Failure
from proxyd.core.hostname import Hostname
from proxyd.core.renewal import Validity


class TroubleKind(Enum):
    """As programs that get alerts read it."""

    RENEWAL_FAILED = "renewal_failed"  # the last order for a host failed, or none could be sent for long
    BLOCKED = "blocked"  # the same order can never succeed
    TERMS_CHANGED = "terms_changed"  # the CA wants its new terms accepted
    ACCOUNT_REFUSED = "account_refused"  # the CA takes nothing from our account
    CA_FAILED = "ca_failed"  # the CA is down or out of reach
    BREAKER_TRIPPED = "breaker_tripped"  # our own ceiling stopped orders (core/circuit_breaker.py)
    SELF_HANDSHAKE_FAILED = "self_handshake_failed"  # our own listener does not show the new certificate
    NOT_IN_USE = "not_in_use"  # this machine lacks what it takes to serve the new certificate
    CACHE_NOT_DURABLE = "cache_not_durable"  # what is obtained cannot be kept
    CLOCK_WRONG = "clock_wrong"  # the clock of this machine is not believed
    OWN_CERTIFICATE = "own_certificate"  # files of tls.cert and tls.key cannot be used, or clients refuse what is there
    OWN_CERTIFICATE_ENDING = "own_certificate_ending"  # what is there expires soon, and nothing renews it
    ROOT_CHANGED = "root_changed"  # the internal CA has a new root, or will soon: it has to be trusted
    HOOK_FAILED = "hook_failed"  # on_renew or export of a host
    RELOAD_REFUSED = "reload_refused"  # the configuration file as it is now is not in force
    ACCESS_LOG_FAILED = "access_log_failed"  # lines of the access log are lost
    USER_FILE = "user_file"  # a file of basic_auth.users cannot be used


class Urgency(IntEnum):
    """How little time is left; each step is told once."""

    NOTICED = 1
    FIFTH_LEFT = 2
    TENTH_LEFT = 3
    TWENTIETH_LEFT = 4
    NOTHING_SERVES = 5

    @property
    def severity(self) -> str:
        """Return `warning` while there is time, then `critical`."""
        return "critical" if self >= Urgency.TENTH_LEFT else "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """`key`: what it is about; the same trouble has the same key at every look, whatever its kind.

    `failure`: what `reason` is made of, where it is about an order. `runs_out_at`: when clients begin to be refused, if
    nobody does anything.
    """

    key: str
    kind: TroubleKind
    urgency: Urgency
    reason: str
    to_do: str = ""
    hosts: tuple[Hostname, ...] = ()
    failure: Failure | None = None
    runs_out_at: datetime | None = None
    next_try: datetime | None = None


def urgency_of(validity: Validity | None, now: datetime) -> Urgency:
    """Return how much is left of what serves; None: nothing does."""
    if validity is None or now >= validity.not_after:
        return Urgency.NOTHING_SERVES
    left: timedelta = validity.not_after - now
    shares = ((20, Urgency.TWENTIETH_LEFT), (10, Urgency.TENTH_LEFT), (5, Urgency.FIFTH_LEFT))
    return next((urgency for share, urgency in shares if left <= validity.lifetime / share), Urgency.NOTICED)
