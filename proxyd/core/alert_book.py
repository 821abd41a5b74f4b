"""What was told already: each trouble once, again when it grows, and once when it is over."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

from proxyd.core.hostname import Hostname
from proxyd.core.notice import Event, Notice
from proxyd.core.trouble import Trouble, TroubleKind, Urgency

#: What comes back sooner was not over.
_SOON = timedelta(hours=1)
#: Hosts that get into the same trouble one after the other are told of together.
_TOGETHER = timedelta(minutes=5)
_KEPT_HOSTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told of a trouble. `kinds`: as what; `absent_since`: it is not there now; `is_over`: that was told too.

    `has_returned`: it was over and came back soon, so that its end is believed later. `is_recalled`: not seen since the
    start: what causes it may not have been tried yet, so that its end is believed later, too.
    """

    trouble: Trouble
    kinds: frozenset[TroubleKind]
    absent_since: datetime | None = None
    is_over: bool = False
    has_returned: bool = False
    is_recalled: bool = False

    def to_document(self) -> dict[str, object]:
        """Return what must outlive a restart, as JSON values."""
        trouble = self.trouble
        return {
            "kind": trouble.kind.value,
            "kinds": sorted(one.value for one in self.kinds),
            "urgency": int(trouble.urgency),
            "reason": trouble.reason,
            "hosts": [one.text for one in trouble.hosts[:_KEPT_HOSTS]],
            "has_returned": self.has_returned,
            "is_over": self.is_over,
        }

    @classmethod
    def read(cls, key: str, document: Mapping[str, object]) -> "Told | None":
        """Return what `to_document` gave, or None."""
        hosts, kinds = document.get("hosts"), document.get("kinds")
        names = (Hostname.from_wire(str(one)) for one in (hosts if isinstance(hosts, list) else []))
        try:
            trouble = Trouble(
                key=key,
                kind=TroubleKind(document.get("kind")),
                urgency=Urgency(int(str(document.get("urgency")))),
                reason=str(document.get("reason") or ""),
                hosts=tuple(one for one in names if one),
            )
            known = frozenset(TroubleKind(one) for one in (kinds if isinstance(kinds, list) else []))
        except ValueError:  # of another version: told once more
            return None
        has_returned = document.get("has_returned") is True
        is_over = document.get("is_over") is True
        known |= {trouble.kind}
        return cls(trouble=trouble, kinds=known, has_returned=has_returned, is_recalled=True, is_over=is_over)


class AlertBook:
    """Deterministic: fed with all troubles of each look, it gives what is to be told. `told`: what was, by key."""

    def __init__(self, told: Mapping[str, Told], *, server: str) -> None:
        self.told = dict(told)
        self._server = server
        self._last: dict[tuple[Event, TroubleKind, Urgency], datetime] = {}

    def look(self, troubles: Iterable[Trouble], now: datetime) -> list[Notice]:
        """Return what is to be told now, and take it for told."""
        present = {one.key: one for one in troubles}
        grown = [one for one in present.values() if self._is_news(one)]
        ended = [told.trouble for key, told in [*self.told.items()] if key not in present and self._is_over(told, now)]
        for key, trouble in present.items():
            if (known := self.told.get(key)) and known.absent_since and not known.is_over:
                self.told[key] = replace(known, absent_since=None, is_recalled=False)
            elif known and not known.is_over:  # what its end will be told with
                now_so = replace(trouble, kind=known.trouble.kind, urgency=known.trouble.urgency)
                self.told[key] = replace(known, trouble=now_so, is_recalled=False)
        notices = [*self._notices("problem", grown, now), *self._notices("resolved", ended, now)]
        for notice in notices:
            for one in notice.troubles:
                self._note(notice.event, one, now)
        return notices

    def _is_news(self, trouble: Trouble) -> bool:
        known = self.told.get(trouble.key)
        if known is None or known.is_over:
            return True
        return trouble.kind not in known.kinds or trouble.urgency > known.trouble.urgency

    def _is_over(self, told: Told, now: datetime) -> bool:
        """Whether its end is to be told now."""
        key = told.trouble.key
        since = told.absent_since or now
        if told.is_over:
            if now - since >= _SOON:
                del self.told[key]
            return False
        self.told[key] = replace(told, absent_since=since)
        return not (told.has_returned or told.is_recalled) or now - since >= _SOON

    def _note(self, event: Event, trouble: Trouble, now: datetime) -> None:
        known = self.told.get(trouble.key)
        if event == "resolved":
            assert known is not None
            self.told[trouble.key] = replace(known, is_over=True, absent_since=now)
            return
        kinds = known.kinds if known and not known.is_over else frozenset[TroubleKind]()
        has_returned = known is not None and (known.is_over or known.has_returned)
        self.told[trouble.key] = Told(trouble=trouble, kinds=kinds | {trouble.kind}, has_returned=has_returned)

    def _notices(self, event: Event, troubles: list[Trouble], now: datetime) -> Iterator[Notice]:
        ordered = sorted(troubles, key=lambda one: (-one.urgency, one.kind.value, one.key))
        for (urgency, kind), group in groupby(ordered, key=lambda one: (one.urgency, one.kind)):
            last = self._last.get((event, kind, urgency))
            if last is not None and timedelta(0) <= now - last < _TOGETHER:
                continue  # with the next ones
            self._last[event, kind, urgency] = now
            yield Notice(event=event, kind=kind, urgency=urgency, at=now, server=self._server, troubles=tuple(group))
