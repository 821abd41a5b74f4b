"""A certificate's state as JSON values, so that a restart wins no retry; what is broken reads as nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

from proxyd.core.certificate_state import Blocked, CertificateState, Dormant, Missing, Ordering, Ready, Waiting
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.moment import read_moment
from proxyd.core.renewal import RenewalWindow

Document = Mapping[str, object]
_MAX_FAILURES = 10_000


def to_document(state: CertificateState) -> dict[str, object]:
    """Return the schedule; empty for a state that the store itself tells."""
    match state:
        case Missing() | Ordering():
            return {}
        case Ready(window=window):
            return {"state": "ready"} if window is None else {"state": "ready", "window": _window_document(window)}
        case Waiting(retry_at=at, last=last):
            return {**_failed_document("waiting", state, at), **({"last": last.to_document()} if last else {})}
        case Blocked(probe_at=at):
            return _failed_document("blocked", state, at)
        case Dormant(since=since, probe_at=at):
            return {**_failed_document("dormant", state, at), "since": since.isoformat()}
        case _:
            assert_never(state)


def read_failed(document: Document) -> Waiting | Blocked | Dormant | None:
    """Return the waiting state that `to_document` gave, or None."""
    at, failure = read_moment(document.get("at")), Failure.read(document.get("failure"))
    failures = _count(document.get("failures"), _MAX_FAILURES)
    if at is None or failure is None or failures is None:
        return None
    unproved = _count(document.get("unproved"), failures)
    if unproved is None:
        unproved = failures if failure.kind is FailureKind.VALIDATION else 0
    match document.get("state"):
        case "waiting":
            last = Failure.read(document.get("last"))
            return Waiting(retry_at=at, failures=failures, failure=failure, unproved=unproved, last=last)
        case "blocked":
            return Blocked(probe_at=at, failures=failures, failure=failure, unproved=unproved)
        case "dormant":
            since = read_moment(document.get("since")) or at
            return Dormant(since=since, probe_at=at, failures=failures, failure=failure, unproved=unproved)
        case _:
            return None


def read_window(document: Document) -> RenewalWindow | None:
    """Return the window that `to_document` gave, or None."""
    fields = document.get("window")
    if not isinstance(fields, Mapping):
        return None
    start, end, url = read_moment(fields.get("start")), read_moment(fields.get("end")), fields.get("explanation_url")
    if start is None or end is None or end <= start:
        return None
    return RenewalWindow(
        cert_id=str(fields.get("cert_id")), start=start, end=end, explanation_url=url if isinstance(url, str) else None
    )


def read_place(document: Document) -> tuple[int, datetime] | None:
    """Return for which certificate (its serial number) and when a renewal was placed, or None."""
    fields = document.get("place")
    if not isinstance(fields, Mapping) or (at := read_moment(fields.get("at"))) is None:
        return None
    try:
        return int(str(fields.get("serial")), 16), at
    except ValueError:
        return None


def place_document(serial: int, at: datetime) -> dict[str, object]:
    """Return what `read_place` reads."""
    return {"place": {"serial": f"{serial:x}", "at": at.isoformat()}}


def _window_document(window: RenewalWindow) -> dict[str, object]:
    return {
        "cert_id": window.cert_id,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "explanation_url": window.explanation_url,
    }


def _failed_document(name: str, state: Waiting | Blocked | Dormant, at: datetime) -> dict[str, object]:
    counts = {"failures": state.failures, "unproved": state.unproved}
    return {"state": name, "at": at.isoformat(), **counts, "failure": state.failure.to_document()}


def _count(value: object, most: int) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= most else None
