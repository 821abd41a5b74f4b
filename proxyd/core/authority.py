"""What is known of one CA: its limits, what we ordered, whether it works at all."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.clock_watch import TOLERANCE
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname
from proxyd.core.internal_ca import INTERNAL
from proxyd.core.moment import read_moment
from proxyd.core.rate_ledger import CaLimits, RateLedger

_WEEK = timedelta(days=7)
#: So many failures of the CA in a row mean that it is down for everybody.
_DOWN_AFTER = 3
#: … unless all were of one host: it may be the one that the CA cannot serve.
_DOWN_FOR = 2
_PROBE_EVERY = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=10))
_ACCOUNT_PROBE = timedelta(hours=1)
#: Who stands further back in the line looks again after this long: those ahead may have left it.
_LONGEST_TURN = timedelta(hours=1)


class Authority:
    """Deterministic: time is a parameter. Without `limits` the CA has none that we know."""

    def __init__(self, name: str, limits: CaLimits | None, *, registered_domain: Callable[[Hostname], str]) -> None:
        self.name = name
        self._registered_domain = registered_domain
        self.has_ari = False  # as it last said: what is due at a start is ordered before it can be asked again
        self.ledger = RateLedger(limits, registered_domain=registered_domain) if limits else None
        self._shelved: RateLedger | None = None  # of limits that hold no longer, and may again
        self._issued: dict[str, list[datetime]] = {}
        self._changed: set[str] = set()  # of _issued
        self._failures = 0
        self._failing: set[Hostname] = set()
        self._probe_at: datetime | None = None
        self._account: Failure | None = None
        self._last: Failure | None = None
        self._last_names: tuple[Hostname, ...] = ()
        self.asked_as: str | None = None  # what decides about the account, as a short text
        self._turn: datetime | None = None

    def allow(self, limits: CaLimits | None, now: datetime) -> bool:
        """Hold to these limits from now on; return whether they are others than before."""
        if limits == (self.ledger.limits if self.ledger else None):
            return False
        self._turn = None
        if limits is None:
            self._shelved, self.ledger = self.ledger, None
        elif self.ledger is not None:
            self.ledger.allow(limits, now)
        else:
            self.ledger = self._shelved or RateLedger(limits, registered_domain=self._registered_domain)
            self.ledger.allow(limits, now)
            self.ledger.assume_unknown_history(now)  # nobody counted
        return True

    def refusal(self, order: CertificateOrder, now: datetime) -> tuple[Failure, datetime] | None:
        """Return why an order is not sent now and from when on it may be, or None."""
        if self._last is not None and (until := self._spared_until(now)):
            return self._told_to(order, self._last), until
        return self._limit(order, now)

    def is_spared(self, now: datetime) -> bool:
        """Whether it is in trouble, and not to be asked for anything before the next probe."""
        return self._last is not None and self._spared_until(now) is not None

    def _spared_until(self, now: datetime) -> datetime | None:
        return self._probe_at if self._probe_at is not None and now < self._probe_at else None

    def instead(self, order: CertificateOrder, now: datetime) -> tuple[Failure, datetime] | None:
        """Count an order that is sent in the place of one that the CA refused; or return why it is not sent."""
        if found := self._limit(order, now):
            return found
        if self.ledger:
            self.ledger.spend(order, now)
        return None

    def turn(self, until: datetime) -> datetime:
        """Return when one of the many that `refusal` puts off to `until` shall look again: one comes after the other.

        If all of them came for the one order that is allowed then, a fleet of ten thousand would do nothing else.
        """
        if until == self._probe_at:
            gap = _ACCOUNT_PROBE if self._account else self._pause()
        elif self.ledger and until == self.ledger.next_order_at:
            gap = self.ledger.pace
        else:
            return until
        turn = until if self._turn is None else max(until, self._turn + gap)
        if turn > until + _LONGEST_TURN:
            return until + _LONGEST_TURN
        self._turn = turn
        return turn

    def started(self, order: CertificateOrder, now: datetime) -> None:
        """Count an order that is sent."""
        if self.ledger:
            self.ledger.spend(order, now)
        self.asked(now)

    def asked(self, now: datetime) -> None:
        """Say that an order is begun or gone on with. While the CA is in trouble it is the one probe."""
        if self._account:
            self._probe_at = now + _ACCOUNT_PROBE
        elif self._is_down:
            self._probe_at = now + self._pause()

    def not_sent(self, order: CertificateOrder) -> None:
        """Take back what `started` counted: the order never left us."""
        if self.ledger:
            self.ledger.not_sent(order)

    def succeeded(self, order: CertificateOrder, now: datetime) -> bool:
        """Count a certificate; return whether the CA was thought to be unable before."""
        self.gave(order, now)
        return self._works()

    def gave(self, order: CertificateOrder, now: datetime) -> None:
        """Count a certificate for our ceiling, whatever becomes of it."""
        history = [at for at in self._issued.get(_key(order), []) if at > now - _WEEK]
        self._issued[_key(order)] = [*history, now]
        self._changed.add(_key(order))

    def recall_issued(self, order: CertificateOrder, times: Collection[datetime], now: datetime) -> None:
        """Count for our ceiling what the cache tells of certificates, where the history was lost."""
        lately = [at for at in times if now - _WEEK < at <= now + TOLERANCE]  # two may have begun in the same second
        if len(lately) > len(self._issued.get(_key(order), ())):
            self._issued[_key(order)] = sorted(lately)
            self._changed.add(_key(order))

    def vanished(self, order: CertificateOrder, now: datetime) -> None:
        """Count an interrupted order that is over; why it failed is not known, so a name may be to blame."""
        if self.ledger:
            self.ledger.failed(order, now, validation=True)

    def failed(self, order: CertificateOrder, failure: Failure, now: datetime, *, paid: bool = False) -> bool:
        """Count an order that gave no certificate; `paid`: it may yet, or gave one that is of no use.

        Return whether the CA was thought to be unable before, and is not: it answered this host.
        """
        if self.ledger and not paid:
            self.ledger.failed(order, now, validation=failure.kind is FailureKind.VALIDATION)
        match failure.kind:
            case FailureKind.CA:
                self._trouble(order, failure, now)
            case FailureKind.ACCOUNT_REFUSED:
                self._account = self._last = failure
                self._last_names = order.names
                self._probe_at = now + _ACCOUNT_PROBE
            case FailureKind.RATE_LIMITED:
                self._limited(order, failure, now)
            case FailureKind.LOCAL:
                pass  # it says nothing about the CA
            case _:
                return self._works()
        return False

    def history(self, order: CertificateOrder) -> list[datetime]:
        """Return when certificates for the same names and key kind were issued in the last week."""
        return self._issued.get(_key(order), [])

    def account_changed(self) -> None:
        """Forget that the account was refused: a person changed it."""
        self._works()

    def ask_as(self, options: str) -> None:
        """Say what decides about the account from now on; what the CA refused of another one is over."""
        if self._account and options != self.asked_as:
            self._works()
        self.asked_as = options

    def settle(self, now: datetime) -> None:
        """Take back what only a wrong clock can have said; its TLS certificate may have seemed invalid by it."""
        self._turn = None
        if self._account and self._probe_at:
            self._probe_at = min(self._probe_at, now + _ACCOUNT_PROBE)
        else:
            self._works()
        for key, times in self._issued.items():
            self._issued[key] = [at for at in times if at <= now + TOLERANCE]
            self._changed.add(key)
        if self.ledger:
            self.ledger.settle(now)

    def to_document(self, now: datetime) -> dict[str, object]:
        """Return everything that must outlive the process, as JSON values."""
        issued = {key: times for key in self._issued if (times := self._issued_lately(key, now))}
        self._issued = {key: self._issued[key] for key in issued}
        return {
            "ledger": self.ledger.to_document(now) if self.ledger else {},
            "issued": issued,
            **self._standing(),
        }

    def changes(self, now: datetime, *, stay: bool = False) -> dict[str, Mapping[str, object]]:
        """Return what of the document is another than at the last call: a week's orders are too many to write at each.

        None in "ledger" and "issued": no longer in it. `stay`: the next call returns it too.
        """
        found: dict[str, Mapping[str, object]] = {
            "ledger": self.ledger.changes(now, stay=stay) if self.ledger else {},
            "issued": {key: self._issued_lately(key, now) or None for key in self._changed},
            "standing": self._standing(),
        }
        if not stay:
            self._changed = set()
        return found

    def read_document(self, document: Mapping[str, object], now: datetime) -> None:
        """Take over what `to_document` gave. Broken parts are skipped."""
        ledger, issued = document.get("ledger"), document.get("issued")
        if isinstance(has_ari := document.get("has_ari"), bool):
            self.has_ari = has_ari
        if self.ledger and isinstance(ledger, Mapping):
            self.ledger.read_document(ledger, now, document.get("limits"))
        for key, times in issued.items() if isinstance(issued, Mapping) else ():
            if isinstance(times, list):
                self._issued[str(key)] = [
                    at for text in times if (at := read_moment(text)) and now - _WEEK < at <= now + TOLERANCE
                ]
        self._read_refused(document.get("refused"), now)

    def _issued_lately(self, key: str, now: datetime) -> list[str]:
        return [at.isoformat() for at in self._issued.get(key, ()) if at > now - _WEEK]

    def _standing(self) -> dict[str, object]:
        ledger = self.ledger or self._shelved
        limits = ledger.limits_document() if ledger else {}
        return {"refused": self._refused(), "has_ari": self.has_ari, "limits": limits}

    def _refused(self) -> dict[str, object]:
        if self._account is None or self._probe_at is None:
            return {}
        return {
            "failure": self._account.to_document(),
            "names": [name.text for name in self._last_names],
            "probe_at": self._probe_at.isoformat(),
            "asked_as": self.asked_as,
        }

    def _read_refused(self, document: object, now: datetime) -> None:
        fields = document if isinstance(document, Mapping) else {}
        failure, at, names = (
            Failure.read(fields.get("failure")),
            read_moment(fields.get("probe_at")),
            fields.get("names"),
        )
        if failure is None or failure.kind is not FailureKind.ACCOUNT_REFUSED or at is None:
            return
        asked_as = fields.get("asked_as")
        if isinstance(asked_as, str) and self.asked_as in (None, asked_as):
            self.asked_as, self._account, self._last = asked_as, failure, failure
            self._probe_at = min(at, now + _ACCOUNT_PROBE)
            known = (Hostname.from_wire(str(name)) for name in names) if isinstance(names, list) else ()
            self._last_names = tuple(name for name in known if name)

    def _limit(self, order: CertificateOrder, now: datetime) -> tuple[Failure, datetime] | None:
        if self.ledger and (refusal := self.ledger.refusal(order, now)):
            message = f"{order.host}: not asked of {self.name}: {refusal}"
            return Failure(kind=FailureKind.RATE_LIMITED, message=message), refusal.until
        return None

    def _trouble(self, order: CertificateOrder, failure: Failure, now: datetime) -> None:
        self._failures += 1
        self._failing.add(order.host)
        self._last, self._last_names = failure, order.names
        if self._is_down:
            asked = min(failure.retry_after or timedelta(0), _LONGEST_TURN)
            self._probe_at = now + max(self._pause(), asked)

    def _limited(self, order: CertificateOrder, failure: Failure, now: datetime) -> None:
        """A limit that we know holds for everybody whom it concerns; one that we do not is trouble of the CA."""
        if failure.problem is None:
            return  # by our own mirror of its limits
        if self.ledger is None or failure.limit is None:
            self._trouble(order, failure, now)
            return
        asked = failure.retry_at or now + (failure.retry_after or timedelta(minutes=1))
        self.ledger.refused(order, failure.limit, min(asked, now + _WEEK), of=failure.limited)

    def _told_to(self, order: CertificateOrder, failure: Failure) -> Failure:
        """Return the trouble of all as the reason of this host: it was said to another one."""
        if order.names == self._last_names:
            return failure
        message = f"{order.host}: not asked of {self.name}: {failure.cause or 'it is in trouble'}"
        return replace(failure, message=message, challenge=None, addresses=())

    def _works(self) -> bool:
        was_unable = self._account is not None or self._is_down
        self._failing.clear()
        self._failures, self._probe_at, self._account, self._last = 0, None, None, None
        self._turn = None
        self._last_names = ()
        return was_unable

    @property
    def has_ceiling(self) -> bool:
        """Whether our own ceiling is under its limits: at the CA in this program there is no allowance to burn."""
        return self.name != INTERNAL

    @property
    def _is_down(self) -> bool:
        return self._failures >= _DOWN_AFTER and len(self._failing) >= _DOWN_FOR

    def _pause(self) -> timedelta:
        return _PROBE_EVERY[min(self._failures - _DOWN_AFTER, len(_PROBE_EVERY) - 1)]


def _key(order: CertificateOrder) -> str:
    return f"{order.key_kind} {','.join(sorted(name.text for name in order.names))}"
