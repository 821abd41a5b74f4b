"""What the fleet knows of one lineage."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.certificate_state import Blocked, CertificateState, Dormant, Missing, Ordering, Ready, Waiting
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.lineage import Held, Plan
from proxyd.core.renewal import RenewalWindow, ask_again_at, renew_at, spread
from proxyd.core.slots import Slot
from proxyd.core.state_document import place_document, read_failed, read_place, read_window, to_document

_REMEMBERED = 8


@dataclass(slots=True, kw_only=True)
class Member:
    """One lineage: its plan, state and what serves. Changed by the fleet alone."""

    plan: Plan
    state: CertificateState = field(default_factory=Missing)
    held: Held | None = None
    slot: Slot | None = None
    ca: int = 0  # which CA of the plan the attempt has come to
    tried: tuple[str, ...] = ()  # challenge types that failed since the last success
    worked: str | None = None
    hint: str | None = None  # the challenge type whose way was just seen open
    refused_replaces: str | None = None
    forced: bool = False
    urgent: bool = False  # somebody waits for the next order: a person, or who mended a name
    in_vain: bool = False  # the last certificate must not serve, or was nearly over: the next one may be like it
    interrupted: str | None = None  # the CA at which an order waits to be gone on with
    ask_ari_at: datetime | None = None  # when the CA is asked for the window of what serves
    asked_ca: int = 0  # which CA of the plan that is, where it is not known whose the certificate is
    asking: bool = False
    known_window: RenewalWindow | None = None  # from before a restart
    known_place: tuple[int, datetime] | None = None  # where the last run placed the renewal of the certificate

    @property
    def issuer(self) -> str:
        """Return the CA that the attempt has come to."""
        return self.plan.issuers[self.ca]

    @property
    def has_other_ca(self) -> bool:
        return self.ca + 1 < len(self.plan.issuers)

    @property
    def is_from_plan(self) -> bool:
        """Whether the certificate is from a CA of the plan; an unknown origin (Go, adopted) is kept."""
        return self.held is None or self.held.issuer is None or self.held.issuer in self.plan.issuers

    @property
    def is_placed_late(self) -> bool:
        """Whether the renewal's place is after the moment of the rule or window: it seemed late when it was placed."""
        if self.held is None or self.slot is None:
            return False
        return self.slot.at > renew_at(self.held.validity, self.known_window, spread(self.plan.lineage.host))

    def is_due(self, now: datetime) -> bool:
        """Return whether what serves is to be renewed by the rule, whatever window there is."""
        return self.held is None or now >= renew_at(self.held.validity, None, 0)

    @property
    def ask_at(self) -> datetime | None:
        """Return when the question for the window is due."""
        return None if self.asking or isinstance(self.state, Ordering) else self.ask_ari_at

    @property
    def window_issuer(self) -> str:
        """Return the CA that is asked for the window: whose certificate it is, else the one whose turn it is."""
        known = self.held.issuer if self.held else None
        return known or self.plan.issuers[self.asked_ca]

    def window_told(
        self, window: RenewalWindow | None, retry_after: timedelta | None, now: datetime, *, by: str | None
    ) -> None:
        """Say what a CA told. One that tells a window of a certificate of unknown origin gave it.

        Where none does, each is asked, rarely.
        """
        self.known_window = window or self.known_window
        self.ask_ari_at = ask_again_at(now, retry_after)
        if window and self.held:
            self.held = replace(self.held, issuer=self.held.issuer or by)
        elif self.held and self.held.issuer is None:
            self.asked_ca = (self.asked_ca + 1) % len(self.plan.issuers)
            self.ask_ari_at = now if self.asked_ca else ask_again_at(now, timedelta.max)

    def mended_by(self, plan: Plan) -> bool:
        """Return whether another plan may end what keeps the certificate from being obtained."""
        match self.state:
            case Ready():
                return self.held is not None and self.held.issuer not in (None, *plan.issuers)
            case Blocked():
                return True
            case Waiting(trouble=failure):
                other_way = plan.issuers != self.plan.issuers or plan.challenges != self.plan.challenges
                return other_way or failure.kind is not FailureKind.VALIDATION
            case Missing() | Ordering() | Dormant():
                return False

    def wish_is_over(self) -> None:
        """Forget what was wished for the next order only."""
        self.forced, self.urgent, self.hint = False, False, None

    def next_order(self, *, has_ari: bool, now: datetime) -> CertificateOrder:
        """Return what would be ordered next; `has_ari`: the CA takes `replaces`."""
        lineage, held, window = self.plan.lineage, self.held, self.known_window
        is_theirs = held is not None and held.issuer == self.issuer
        by_ari = held and is_theirs and held.is_owned and has_ari and held.cert_id != self.refused_replaces
        return CertificateOrder(
            host=lineage.host,
            names=lineage.names,
            key_kind=lineage.key_kind,
            replaces=(held.cert_id or None) if held and by_ari else None,
            account=held.account if held and by_ari else None,
            is_renewal=is_theirs,
            follows=held.validity.not_before if held else None,
            is_in_window=window is not None and held is not None and window.holds(held.cert_id, now),
        )

    def challenges(self) -> tuple[str, ...]:
        """What worked first; after a failure the type that was not tried last (first hour: under five failures)."""
        kinds = list(self.plan.challenges)
        kinds.sort(
            key=lambda kind: (kind != self.hint, kind in self.tried[-1:], self.tried.count(kind), kind != self.worked)
        )
        return tuple(kinds)

    def other_challenge(self, failure: Failure) -> bool:
        """Whether to try another challenge type at once: only in the first attempt after a success."""
        first = not self.tried
        if failure.challenge is not None:
            self.tried = (*self.tried[1 - _REMEMBERED :], failure.challenge)
        return first and failure.challenge is not None and len(self.plan.challenges) > 1

    def document(self) -> dict[str, object]:
        """Return what a restart must not forget, as JSON values."""
        kept: dict[str, object] = {"worked": self.worked, "refused_replaces": self.refused_replaces}
        kept |= {"tried": list(self.tried), "in_vain": self.in_vain}
        known = (self.held.serial, self.slot.at) if self.held and self.slot else self.known_place
        place = place_document(*known) if known else {}
        return {**to_document(self.state), **place, **kept, **_plan_document(self.plan)}

    def restore(self, document: Mapping[str, object]) -> bool:
        """Take over what `document` gave, unless it is of other names. Broken parts are skipped.

        Return whether what failed then may be mended by the plan, which is another now.
        """
        names = document.get("names")
        if isinstance(names, list) and {str(name) for name in names} != {one.text for one in self.plan.lineage.names}:
            return False
        worked, refused, tried = (document.get(key) for key in ("worked", "refused_replaces", "tried"))
        self.worked = worked if isinstance(worked, str) else None
        self.refused_replaces = refused if isinstance(refused, str) else None
        self.in_vain = document.get("in_vain") is True
        self.tried = tuple(str(one) for one in tried[-_REMEMBERED:]) if isinstance(tried, list) else ()
        if state := read_failed(document):
            self.state = state
        if window := read_window(document):
            self.known_window = window
        before = _read_plan(document, self.plan)
        is_mended = before != self.plan and replace(self, plan=before).mended_by(self.plan)
        self.known_place = None if is_mended else read_place(document)  # else what serves would seem to be due
        return is_mended


def _plan_document(plan: Plan) -> dict[str, object]:
    return {
        "names": [name.text for name in plan.lineage.names],
        "issuers": list(plan.issuers),
        "challenges": list(plan.challenges),
        "fingerprint": plan.fingerprint,
    }


def _read_plan(document: Mapping[str, object], now: Plan) -> Plan:
    """Return the plan under which the document was kept; an earlier version kept the fingerprint alone."""
    issuers, challenges = (
        tuple(str(one) for one in kept) if isinstance(kept := document.get(key), list) else same
        for key, same in (("issuers", now.issuers), ("challenges", now.challenges))
    )
    return replace(now, issuers=issuers, challenges=challenges, fingerprint=str(document.get("fingerprint")))
