"""What was told and which channels took it, kept over restarts: what one of them did not take, it is told then."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from proxyd.core.alert_book import Told
from proxyd.core.notice import Event, Notice
from proxyd.core.trouble import Trouble, TroubleKind, Urgency
from proxyd.issuance.memory import Memory

_DOCUMENT = "alert "


@dataclass(slots=True)
class _Receipt:
    """Who took the last notice of a trouble. `at`: when that was written; None: before the start."""

    at: datetime | None
    taken_by: set[str] = field(default_factory=set)


class AlertReceipts:
    """A trouble is forgotten when it is over and every channel has heard so. `channels`: by their names."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._receipts: dict[str, _Receipt] = {}
        self._owed: dict[str, set[str]] = {}

    def read(self, channels: Iterable[str], now: datetime) -> dict[str, Told]:
        """Return what was told before the start, by key."""
        found: dict[str, Told] = {}
        for key, document in self._memory.documents(_DOCUMENT).items():
            told, taken_by = Told.read(key, document), document.get("taken_by")
            if told is None:
                continue
            found[key] = replace(told, absent_since=now) if told.is_over else told
            if isinstance(taken_by, list):  # else of a version that did not keep it
                self._receipts[key] = _Receipt(None, {str(one) for one in taken_by})
                self._owed[key] = {*channels} - self._receipts[key].taken_by
            if told.is_over and not self._owed.get(key):
                self._forget(key)
        return found

    def owed(
        self, present: Mapping[str, Trouble], told: Mapping[str, Told], now: datetime, server: str
    ) -> Iterator[tuple[str, Notice]]:
        """Return what channels did not take before the start, each once: when it is seen, or known to be over."""
        found: defaultdict[tuple[str, Event, TroubleKind, Urgency], list[Trouble]] = defaultdict(list)
        for key in [*self._owed]:
            known = told.get(key)
            if known is None or not (known.is_over or key in present):
                continue  # perhaps it comes again
            self._receipts[key].at = now
            trouble = known.trouble if known.is_over else present[key]
            event: Event = "resolved" if known.is_over else "problem"
            for channel in self._owed.pop(key):
                found[channel, event, trouble.kind, trouble.urgency].append(trouble)
        for (channel, what, kind, urgency), troubles in found.items():
            notice = Notice(event=what, kind=kind, urgency=urgency, at=now, server=server, troubles=tuple(troubles))
            yield channel, notice

    def told(self, notice: Notice) -> None:
        """All channels are told this now."""
        for one in notice.troubles:
            self._owed.pop(one.key, None)
            self._receipts[one.key] = _Receipt(notice.at)

    def taken(self, notice: Notice, channel: str, *, channels: Iterable[str], told: Mapping[str, Told]) -> None:
        """Keep that a channel took it: only now, so that what none took is told after a restart."""
        for one in notice.troubles:
            if (receipt := self._receipts.get(one.key)) is None:
                continue  # it was over long ago
            if receipt.at == notice.at:  # else newer news of it wait behind this one
                receipt.taken_by.add(channel)
            known = told.get(one.key)
            is_over = known is None or known.is_over
            if is_over and receipt.taken_by >= {*channels}:
                self._forget(one.key)
            elif known is not None:
                document = {**known.to_document(), "taken_by": sorted(receipt.taken_by)}
                self._memory.keep_document(f"{_DOCUMENT}{one.key}", document)
            elif document := {**self._memory.document(f"{_DOCUMENT}{one.key}")}:
                document["taken_by"] = sorted(receipt.taken_by)
                self._memory.keep_document(f"{_DOCUMENT}{one.key}", document)

    def _forget(self, key: str) -> None:
        self._receipts.pop(key, None)
        self._owed.pop(key, None)
        self._memory.forget_document(f"{_DOCUMENT}{key}")
