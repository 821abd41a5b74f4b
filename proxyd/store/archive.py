"""Generations of certificates beside the live place, and the marks of those that must never load again."""

import hashlib
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.store.store import Store, StoreError

_log = logging.getLogger("proxyd.store")
_PREVIOUS = 3
_MOMENT = "%Y%m%d%H%M%S"
_NAME = re.compile(r"(?P<slot>.+)\+(?P<begin>\d{14})-(?P<end>\d{14})-(?P<mark>[0-9a-f]{16})\Z")
_LONGEST_SLOT = 160
#: So long after its end a certificate serves nobody, even by a clock that is wrong by much.
_MARKED = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A file of the archive by its name: what it says is believed only after the certificate in it was read."""

    file: str
    not_before: datetime
    not_after: datetime
    mark: str


Listing = Mapping[str, Sequence[Generation]]


@dataclass(frozen=True, slots=True)
class Archive:
    """The current and the previous three certificates of each live file, as copies. Methods block on the disk."""

    generations: Store
    condemned: Store
    _condemned: set[str] = field(default_factory=set)  # by this process, should the disk not have taken the mark

    def listing(self) -> Listing:
        """Return all generations by slot, newest first; empty when the archive cannot be read."""
        found: dict[str, list[Generation]] = defaultdict(list)
        for name in self._names(self.generations):
            if (match := _NAME.match(name)) and (one := _generation(match)):
                found[match["slot"]].append(one)
        for several in found.values():
            several.sort(key=_age, reverse=True)
        return found

    def of(self, key: str) -> Sequence[Generation]:
        """Return the generations of one live file, newest first."""
        name = slot(key)
        matches = [_NAME.match(one) for one in self._names(self.generations) if one.startswith(f"{name}+")]
        found = [one for match in matches if match and match["slot"] == name and (one := _generation(match))]
        return sorted(found, key=_age, reverse=True)

    def marks(self) -> tuple[frozenset[str], bool]:
        """Return what must never load again, by fingerprint, and whether that is all: else any copy may be marked."""
        try:
            return frozenset(self.condemned.names()) | self._condemned, True
        except StoreError as error:
            extra = {"reason": str(error), "next": "no copy of the archive is used until they can be read"}
            _log.error("the marks of what must never load again cannot be read", extra=extra)
            return frozenset(self._condemned), False

    def has_any(self) -> bool:
        """Return whether it holds a copy or a mark. Raises StoreError."""
        return bool(self.generations.names() or self.condemned.names())

    def load(self, generation: Generation) -> Certificate | None:
        """Return the certificate of a generation; of a broken one there is a log line."""
        try:
            pem = self.generations.load(generation.file)
            found = None if pem is None else Certificate.parse(pem)
            if found is not None and not fingerprint(found).startswith(generation.mark):
                raise InvalidCertificate("the certificate is not the one that was kept")
            return found
        except (StoreError, InvalidCertificate) as error:
            _log.warning("a copy in the archive is broken", extra={"file": generation.file, "reason": str(error)})
            return None

    def add(self, key: str, certificate: Certificate) -> None:
        """Keep a copy and drop the oldest. Raises StoreError."""
        known = self.of(key)
        name = _file(key, certificate)
        if all(one.file != name for one in known) or not self._is_whole(name, certificate):
            self.generations.save(name, certificate.pem)
        for old in [one for one in known if one.file != name][_PREVIOUS:]:
            self.generations.remove(old.file)

    def _is_whole(self, name: str, certificate: Certificate) -> bool:
        try:
            return self.generations.load(name) == certificate.pem
        except StoreError:
            return False

    def condemn(self, key: str, certificate: Certificate, why: Mapping[str, str], now: datetime) -> None:
        """Never let it load again: marked durably, its copy deleted. On StoreError at least in this process."""
        try:
            self.generations.remove(_file(key, certificate))
        finally:
            self.mark(certificate, why)
        self._forget_old_marks(now)

    def mark(self, certificate: Certificate, why: Mapping[str, object]) -> None:
        """Keep it from loading; its copy stays. On StoreError at least in this process."""
        why = {**why, "not_after": certificate.not_after.isoformat()}
        self._condemned.add(fingerprint(certificate))
        self.condemned.save(fingerprint(certificate), json.dumps(why, indent=1).encode())

    def unmark(self, certificate: Certificate) -> None:
        """Let it load again. Raises StoreError."""
        self._condemned.discard(fingerprint(certificate))
        self.condemned.remove(fingerprint(certificate))

    def why_marked(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield what every mark says, as far as it can be read, by fingerprint."""
        for name in self._names(self.condemned):
            try:
                document = json.loads(self.condemned.load(name) or b"")
            except (StoreError, ValueError, RecursionError):
                continue
            if isinstance(document, dict):
                yield name, document

    def _forget_old_marks(self, now: datetime) -> None:
        """Marks must not become more and more for ever."""
        for name, why in [*self.why_marked()]:
            try:
                if datetime.fromisoformat(str(why["not_after"])) < now - _MARKED:
                    self.condemned.remove(name)
            except (StoreError, ValueError, TypeError, KeyError):  # what cannot be read stays
                continue

    def _names(self, store: Store) -> list[str]:
        try:
            return store.names()
        except StoreError as error:
            _log.error("the archive cannot be read", extra={"reason": str(error)})
            return []


def fingerprint(certificate: Certificate) -> str:
    """Return the SHA-256 of the leaf, in hex."""
    return hashlib.sha256(certificate.leaf).hexdigest()


def slot(key: str) -> str:
    """Return the archive's name of a live file; the longest are shortened, a file name has 255 bytes."""
    if len(key) <= _LONGEST_SLOT:
        return key
    return f"{key[: _LONGEST_SLOT - 34]}~{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _file(key: str, certificate: Certificate) -> str:
    begin, end = (at.astimezone(UTC).strftime(_MOMENT) for at in (certificate.not_before, certificate.not_after))
    return f"{slot(key)}+{begin}-{end}-{fingerprint(certificate)[:16]}"


def _generation(match: re.Match[str]) -> Generation | None:
    begin, end = _moment(match["begin"]), _moment(match["end"])
    if begin is None or end is None:
        return None
    return Generation(file=match[0], not_before=begin, not_after=end, mark=match["mark"])


def _age(generation: Generation) -> tuple[datetime, datetime]:
    return generation.not_before, generation.not_after


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None
