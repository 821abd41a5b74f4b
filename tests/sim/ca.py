"""A CA that enforces Let's Encrypt's limits, by an implementation of its own, and fails in many ways."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.renewal import RenewalWindow, Validity
from tests.sim.timeline import DAY, HOUR, Span, within

#: Ours is allowed to the microsecond; fractions of a token are not as exact.
_ONE = 1 - 1e-6


@dataclass(slots=True)
class Bucket:
    """A naive token bucket: a level that leaks full again."""

    count: int
    period: timedelta
    level: float
    at: datetime

    def take(self, now: datetime) -> bool:
        self.level = min(self.count, self.level + (now - self.at) / self.period * self.count)
        self.at = now
        if self.level < _ONE:
            return False
        self.level -= 1
        return True

    def peek(self, now: datetime) -> bool:
        return min(self.count, self.level + (now - self.at) / self.period * self.count) >= _ONE


@dataclass(frozen=True, slots=True, kw_only=True)
class SimCertificate:
    cert_id: str
    names: frozenset[str]
    not_before: datetime
    not_after: datetime
    issuer: str = "a simulated CA"
    key_kind: str = "p256"

    @property
    def ari_id(self) -> str:
        return self.cert_id

    @property
    def validity(self) -> Validity:
        return Validity(not_before=self.not_before, not_after=self.not_after)

    @property
    def serial(self) -> int:
        return int(self.cert_id.partition(".")[2], 16)


class Trouble(Enum):
    """What an order may meet while a storm lasts."""

    ERRORS = "HTTP 500"
    LIMITED = "HTTP 429"
    NONCES = "refused 3 nonces in a row (badNonce)"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """A part of all orders is in trouble for a while."""

    begin: datetime
    end: datetime
    trouble: Trouble
    share: float

    @property
    def span(self) -> Span:
        return self.begin, self.end


@dataclass(slots=True, kw_only=True)
class SimCa:
    rng: random.Random
    outages: list[Span]
    storms: list[Storm]
    account_refusals: list[Span]
    revocations: list[datetime]  # from then on all older certificates have a window that is now
    flaky: float = 0.01
    refusals: list[str] = field(default_factory=list)
    orders: list[datetime] = field(default_factory=list)
    issued: dict[str, SimCertificate] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    _exempt: set[str] = field(default_factory=set)  # replaced by orders that run
    _known: set[str] = field(default_factory=set)  # sets of names that had a certificate
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def is_down(self, now: datetime) -> bool:
        return within(self.outages, now)

    @property
    def troubles(self) -> list[Span]:
        """Return when the CA did not work: down, refusing us, or failing more often than not."""
        return [*self.outages, *self.account_refusals, *(one.span for one in self.storms if one.share > 0.5)]

    def seconds(self, now: datetime) -> float:
        """Return how long an order takes that begins now."""
        storm = self._storm(now)
        if self.rng.random() < (storm.share if storm and storm.trouble is Trouble.SLOW else 0.01):
            return self.rng.uniform(60, 600)
        return self.rng.uniform(2, 15)

    def place(self, order: CertificateOrder, domain: str, now: datetime, *, is_refused: bool = False) -> Failure | None:
        """Take an order in, or refuse it; a refusal by a limit is recorded: our mirror should have known."""
        if self.is_down(now):
            return Failure(kind=FailureKind.CA, message="down")
        if trouble := self._trouble(now):
            return trouble
        if within(self.account_refusals, now):
            return Failure(kind=FailureKind.ACCOUNT_REFUSED, message="new terms", problem="userActionRequired")
        if is_refused:
            return Failure(kind=FailureKind.HOST_REFUSED, message="policy", problem="rejectedIdentifier")
        self.orders.append(now)
        if self._is_exempt(order, now):
            self._exempt.add(str(order.replaces))
            return None
        for name in order.names:
            if not self._bucket(f"failures {name}", 5, HOUR, now).peek(now):
                return self._refuse(order, "failures", now)
        names = ",".join(sorted(name.text for name in order.names))
        if not self._bucket(f"set {names}", 5, 7 * DAY, now).peek(now):
            return self._refuse(order, "duplicates", now)
        if names in self._known:
            return None
        if not self._bucket("orders", 300, 3 * HOUR, now).take(now):
            return self._refuse(order, "orders", now)
        if self.is_spent(domain, now):
            return self._refuse(order, f"domain {domain}", now)
        return None

    def finish(
        self,
        order: CertificateOrder,
        domain: str,
        challenge: str,
        lifetime: timedelta,
        now: datetime,
        *,
        valid: bool,
    ) -> SimCertificate | Failure:
        """Validate and issue."""
        if self.is_down(now):
            return Failure(kind=FailureKind.CA, message="down in the middle")
        if not valid:
            for name in order.names:
                self._bucket(f"failures {name}", 5, HOUR, now).take(now)
            return Failure(kind=FailureKind.VALIDATION, message="connection", challenge=challenge)
        names = frozenset(name.text for name in order.names)
        known = ",".join(sorted(names))
        if order.replaces in self._exempt:
            self._exempt.discard(order.replaces)
        else:
            self._bucket(f"set {known}", 5, 7 * DAY, now).take(now)
            if known not in self._known:
                self._of_domain(domain, now).take(now)
        self._known.add(known)
        if order.replaces:
            self.replaced.add(order.replaces)
        made = SimCertificate(
            cert_id=f"id{len(self.issued)}.{self.rng.getrandbits(32):x}",
            names=names,
            not_before=now,
            not_after=now + lifetime,
        )
        self.issued[made.cert_id] = made
        return made

    def window(self, cert_id: str, now: datetime) -> RenewalWindow | None:
        """Two days at two thirds of the life (half for short ones), now after a mass revocation, rarely nonsense."""
        certificate = self.issued[cert_id]
        if self.rng.random() < 0.01:
            return None
        if self.rng.random() < 0.01:
            return RenewalWindow(cert_id="another.leaf", start=now - DAY, end=now)
        if self.rng.random() < 0.005:  # long after the end, or long ago
            start = now + DAY * self.rng.choice((400, -400))
            return RenewalWindow(cert_id=cert_id, start=start, end=start + DAY)
        start, end = self._window(certificate, now)
        return RenewalWindow(cert_id=cert_id, start=start, end=end)

    def right_window(self, cert_id: str, now: datetime) -> tuple[datetime, datetime]:
        """Return the window without its rare nonsense."""
        return self._window(self.issued[cert_id], now)

    def is_spent(self, domain: str, now: datetime) -> bool:
        """Return whether the domain may have no certificate for new names now."""
        return not self._of_domain(domain, now).peek(now)

    def _trouble(self, now: datetime) -> Failure | None:
        storm = self._storm(now)
        if storm and storm.trouble is not Trouble.SLOW and self.rng.random() < storm.share:
            limited = storm.trouble is Trouble.LIMITED
        elif self.rng.random() < self.flaky:
            limited = self.rng.random() < 0.3
        else:
            return None
        if not limited:
            return Failure(kind=FailureKind.CA, message=storm.trouble.value if storm else Trouble.ERRORS.value)
        wait = timedelta(minutes=self.rng.uniform(1, 90))
        return Failure(kind=FailureKind.RATE_LIMITED, message="spurious", retry_after=wait, problem="rateLimited")

    def _storm(self, now: datetime) -> Storm | None:
        for storm in self.storms:
            if storm.begin <= now < storm.end:
                return storm
        return None

    def _is_exempt(self, order: CertificateOrder, now: datetime) -> bool:
        """Let's Encrypt's rule: it replaces a certificate with a name in common, the first time, inside the window."""
        old = self.issued.get(order.replaces or "")
        if old is None or old.cert_id in self.replaced or not old.names & {name.text for name in order.names}:
            return False
        start, end = self._window(old, now)
        return start <= now < end

    def _window(self, certificate: SimCertificate, now: datetime) -> tuple[datetime, datetime]:
        if any(certificate.not_before < at <= now for at in self.revocations):
            return now - DAY, now
        return usual_window(certificate)

    def _of_domain(self, domain: str, now: datetime) -> Bucket:
        return self._bucket(f"domain {domain}", 50, 7 * DAY, now)

    def _bucket(self, key: str, count: int, period: timedelta, now: datetime) -> Bucket:
        if key not in self._buckets:
            self._buckets[key] = Bucket(count, period, count, now)
        return self._buckets[key]

    def _refuse(self, order: CertificateOrder, limit: str, now: datetime) -> Failure:
        self.refusals.append(f"{now:%Y-%m-%d %H:%M:%S} {order.host}: {limit}")
        return Failure(
            kind=FailureKind.RATE_LIMITED, message=limit, retry_after=timedelta(hours=1), problem="rateLimited"
        )


def usual_window(certificate: SimCertificate) -> tuple[datetime, datetime]:
    """Return the window that the CA suggests when nothing is wrong."""
    lifetime = certificate.not_after - certificate.not_before
    middle = certificate.not_before + lifetime * (0.5 if lifetime < 10 * DAY else 2 / 3)
    half = min(DAY, lifetime / 20)
    return middle - half, middle + half
