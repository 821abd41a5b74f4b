"""Watching the names of a certificate that fails: what looks mended ends the wait, and nothing can burn the budget."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxyd.core.hostname import Hostname
from proxyd.core.moment import read_moment
from proxyd.core.name_view import NameView, Port80

Views = Mapping[Hostname, NameView]
EVERY = timedelta(seconds=30)
#: A resolver of the CA may keep the old answer for a minute (Let's Encrypt's do): a change is worth a second try.
_AGAIN_AFTER = timedelta(seconds=65)
#: What was seen within this time is no news by itself: it has to stand for two looks, or every DNS that gives its
#: addresses by turns would end the wait.
_NEWS_AFTER = timedelta(hours=1)
#: Let's Encrypt allows five failures an hour, the schedule itself needs up to four in the first.
_WAKES = ((3, timedelta(hours=1)), (10, timedelta(hours=24)))
#: So many of them for what only came back: with their second tries, some of the day's are left for what is new.
_RETURNS = ((2, timedelta(hours=1)), (4, timedelta(hours=24)))
_MOST_SEEN = 64
_ADDRESSES, _CAA = "addresses", "CAA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something of a name is no longer as it was when the order failed."""

    name: Hostname
    what: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.what} of {self.name}: {self.was} -> {self.now}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """Try again now: something looks mended. Without changes: the last one deserves a second try."""

    changes: tuple[Change, ...] = ()


class NameWatch:
    """What was seen of the names of one failing certificate. Deterministic: time is a parameter."""

    def __init__(self, failing_since: datetime) -> None:
        self.failing_since = failing_since
        self.failed_at = failing_since
        self.looked_at: datetime | None = None
        self.elsewhere_since: datetime | None = None
        self.last_request: datetime | None = None
        self._base: dict[Hostname, NameView] = {}
        self._last: dict[Hostname, NameView] = {}
        self._seen: dict[str, datetime] = {}
        self._wakes: list[datetime] = []
        self._returns: list[datetime] = []
        self._again_at: datetime | None = None

    @property
    def views(self) -> Views:
        """Return the last look."""
        return self._last or self._base

    def is_due(self, now: datetime) -> bool:
        """Return whether it is time for a look; a clock that was set back does not put it off."""
        if self.looked_at is None or now < self.looked_at:
            return True
        return now >= self.looked_at + EVERY or (self._again_at is not None and self.looked_at < self._again_at <= now)

    def failed(self, now: datetime) -> None:
        """Say that another order failed: what was seen before it is the measure from now on."""
        self.failed_at = now
        if self._last:
            self._base = dict(self._last)
            self._remember(self._last, now)

    def look(self, views: Views, now: datetime) -> Wake | None:
        """Take a look; return whether something looks mended and the budget of wakes allows an order for it."""
        before, self.looked_at, self._last = self._last, now, dict(views)
        if not self._base:
            self._base = dict(views)
            self._remember(views, now)
            return None
        changes, returned = tuple(self._changes(views, now)), tuple(self._returned(views, before))
        again = not changes and not returned and self._is_second_try(now)
        if (changes or again) and not _allow(_WAKES, self._wakes, now):
            return None  # still news at the next look
        self._remember(views, now)
        if not changes and not again:
            if not returned or not _allow(_WAKES, self._wakes, now) or not _allow(_RETURNS, self._returns, now):
                return None
            self._returns = [*self._returns, now][-_RETURNS[-1][0] :]
        self._wakes = [*self._wakes, now][-_WAKES[-1][0] :]
        self._again_at = None if again else now + _AGAIN_AFTER
        self._base = dict(views)
        return Wake(changes=tuple(dict.fromkeys((*changes, *returned))))

    def point_elsewhere(self, validated: Mapping[Hostname, Sequence[str]], now: datetime) -> None:
        """Note whether all names have other addresses than at the last successful validation, or none.

        A name that was never validated, or of which nothing was known then, only leaves by having none. A look that
        the DNS did not answer proves nothing.
        """
        if not self._last or any(view.addresses is None for view in self._last.values()):
            return
        here = any(
            bool(set(view.addresses or ()) & set(validated[name]) if validated.get(name) else view.addresses)
            for name, view in self._last.items()
        )
        self.elsewhere_since = None if here else self.elsewhere_since or now

    @property
    def milestone(self) -> object:
        """Return what is worth a write to the disk when it changes."""
        return (self.failed_at, self.elsewhere_since, self.last_request, *self._wakes, *self._seen)

    def to_document(self) -> dict[str, object]:
        """Return what a restart must not forget, as JSON values."""
        return {
            "failing_since": self.failing_since.isoformat(),
            "failed_at": self.failed_at.isoformat(),
            "elsewhere_since": self.elsewhere_since and self.elsewhere_since.isoformat(),
            "last_request": self.last_request and self.last_request.isoformat(),
            "base": {name.text: view.to_document() for name, view in self._base.items()},
            "seen": {key: at.isoformat() for key, at in self._seen.items()},
            "wakes": [at.isoformat() for at in self._wakes],
            "returns": [at.isoformat() for at in self._returns],
            "again_at": self._again_at and self._again_at.isoformat(),
        }

    @classmethod
    def read(cls, document: Mapping[str, object], names: Sequence[Hostname], now: datetime) -> "NameWatch":
        """Return what `to_document` gave, of these names. Broken parts, and times to come, are skipped."""

        def past(text: object) -> datetime | None:
            return at if (at := read_moment(text)) and at <= now else None

        watch = cls(past(document.get("failing_since")) or now)
        watch.failed_at = past(document.get("failed_at")) or now
        watch.elsewhere_since = past(document.get("elsewhere_since"))
        watch.last_request = past(document.get("last_request"))
        base, seen = (document.get(key) for key in ("base", "seen"))
        if isinstance(base, Mapping):
            watch._base = {name: view for name in names if (view := NameView.read(base.get(name.text)))}
        for key, text in list(seen.items())[-_MOST_SEEN:] if isinstance(seen, Mapping) else ():
            if at := past(text):
                watch._seen[str(key)] = at
        watch._wakes, watch._returns = (
            [at for text in kept[-10:] if (at := past(text))] if isinstance(kept := document.get(key), list) else []
            for key in ("wakes", "returns")
        )
        again = read_moment(document.get("again_at"))
        watch._again_at = again if again and again <= now + _AGAIN_AFTER else None
        return watch

    def righted(self, names: Sequence[Hostname], now: datetime) -> "NameWatch":
        """Return the watch after a clock that was wrong: by one that was behind, all seems to last for long."""
        watch = NameWatch.read(self.to_document(), names, now)
        watch.failing_since = now
        watch.elsewhere_since = watch.elsewhere_since and now
        return watch

    def _changes(self, views: Views, now: datetime) -> Iterator[Change]:
        """Yield what is new."""
        for change, value in self._differences(views):
            seen = self._seen.get(_key(change.name, change.what, value))
            if seen is None or now - seen > _NEWS_AFTER:
                yield change
        for name, view in views.items():
            if (old := self._base.get(name)) and view.port80 is Port80.OURS is not old.port80:
                yield Change(name=name, what="port 80", was=old.port80.value, now=view.port80.value)

    def _returned(self, views: Views, before: Views) -> Iterator[Change]:
        """Yield what differs from the failed order and stood at the look before: an old answer can be right."""
        for change, value in self._differences(views):
            if (last := before.get(change.name)) is None:
                continue
            if value == (last.addresses if change.what == _ADDRESSES else last.caa):
                yield change

    def _differences(self, views: Views) -> Iterator[tuple[Change, Sequence[object]]]:
        """Yield which answers are not those that an order failed with; none, and no addresses, mend nothing."""
        for name, view in views.items():
            if (old := self._base.get(name)) is None:
                continue
            if view.addresses and view.addresses != old.addresses and not _is_part(view, old):
                was, is_now = shown(old.addresses), shown(view.addresses)
                yield Change(name=name, what=_ADDRESSES, was=was, now=is_now), view.addresses
            if view.caa is not None and view.caa != old.caa:
                yield Change(name=name, what=_CAA, was=shown(old.caa), now=shown(view.caa)), view.caa

    def _is_second_try(self, now: datetime) -> bool:
        """Whether the order of the last wake failed too, a minute ago: perhaps the CA saw the old answer still."""
        due = self._again_at is not None and self._again_at <= now
        return due and bool(self._wakes) and self.failed_at > self._wakes[-1]

    def _remember(self, views: Views, now: datetime) -> None:
        for name, view in views.items():
            for what, value in ((_ADDRESSES, view.addresses), (_CAA, view.caa)):
                if value is not None:
                    self._seen.pop(_key(name, what, value), None)
                    self._seen[_key(name, what, value)] = now
        while len(self._seen) > max(_MOST_SEEN, 4 * len(views)):
            del self._seen[next(iter(self._seen))]


def shown(values: Sequence[object] | None) -> str:
    """Return addresses or records for people."""
    if values is None:
        return "no answer"
    return ", ".join(str(one) for one in values) or "none"


def _is_part(view: NameView, old: NameView) -> bool:
    """Whether addresses are missing only because the question for them got no answer this time."""
    return view.trouble is not None and set(view.addresses or ()) < set(old.addresses or ())


def _key(name: Hostname, what: str, values: Sequence[object]) -> str:
    return f"{name} {what} {shown(values)}"


def _allow(limits: Sequence[tuple[int, timedelta]], used: Sequence[datetime], now: datetime) -> bool:
    return all(sum(1 for at in used if now - period < at <= now) < most for most, period in limits)
