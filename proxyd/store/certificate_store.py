"""Certificates and the account key in a store, by autocert's names; earlier generations in the archive."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from proxyd.certs.acceptance import is_unsigned
from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.certs.key import PrivateKey, account_key_from_pem, key_to_pem
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.key_family import KeyFamily
from proxyd.store.archive import Archive, Listing, fingerprint, slot
from proxyd.store.live_file import host_of, live_file
from proxyd.store.store import DamagedError, Store, StoreError

_ACCOUNT = "acme_account+key"
_OLD_ACCOUNT = "acme_account.key"  # of early autocert, which still reads it; nobody writes it
_BOTH: tuple[KeyFamily, ...] = ("ec", "rsa")
_log = logging.getLogger("proxyd.store")
Wanted = tuple[Hostname, Sequence[KeyFamily]]


class _Condemned(InvalidCertificate):
    """It was taken back or revoked."""


@dataclass(frozen=True, slots=True)
class _Shelf:
    """What a load looks through, listed once for all hosts; only live files are trusted unless all marks are known."""

    listing: Listing
    marks: frozenset[str]
    knows_all_marks: bool


class CertificateStore:
    """Typed face over a Store. Methods block on the disk; nothing invalid and nothing condemned is ever returned.

    `told` hears of each repair: the host and what was done.
    """

    def __init__(self, store: Store, *, clock: Clock, told: Callable[[Hostname, str], None] | None = None) -> None:
        self.store = store
        self._clock = clock
        self._told = told
        self._archive = Archive(store.inside("generations"), store.inside("condemned"))

    def load(self, host: Hostname, families: Sequence[KeyFamily] = _BOTH) -> Certificate | None:
        """Return the host's newest valid certificate, of the first family that has one, else an expired one.

        What is broken is set aside, and an earlier generation put in its place, with a log line each.
        """
        keys = {live_file(host, family) for family in families}
        listing = {slot(key): self._archive.of(key) for key in keys}  # not that of ten thousand hosts
        return self._load(host, families, _Shelf(listing, *self._archive.marks()))

    def load_all(self, wanted: Iterable[Wanted]) -> Iterator[Certificate | None]:
        """Return what `load` gives for each; directories are listed once."""
        shelf = _Shelf(self._archive.listing(), *self._archive.marks())
        for host, families in wanted:
            yield self._load(host, families, shelf)

    def of_others(self, known: Collection[Hostname]) -> Iterator[tuple[Hostname, Certificate]]:
        """Yield what lies here for hosts that are not `known`, each with its host. What is broken is left alone.

        Reads every other certificate of the cache. Raises StoreError when it cannot be listed.
        """
        shelf = _Shelf({}, *self._archive.marks())
        for key in self.store.names():
            host = host_of(key)
            if host is None or host in known:
                continue
            try:
                pem = self.store.load(key)
                found = None if pem is None else Certificate.parse(pem)
            except (StoreError, InvalidCertificate):
                continue
            if found is not None and self._is_fine(found, host, shelf):
                yield host, found

    def save(self, host: Hostname, certificate: Certificate) -> None:
        """Replace the host's certificate of this family, durably. Raises StoreError; the old file is intact then."""
        key = live_file(host, certificate.family)
        self._keep_live(host, key)
        self.store.save(key, certificate.pem)
        self._add(key, certificate)

    def previous(self, host: Hostname, certificate: Certificate) -> Certificate | None:
        """Return the newest valid generation of the same family other than `certificate`."""
        shelf = _Shelf({}, *self._archive.marks())
        for generation in self._archive.of(live_file(host, certificate.family)) if shelf.knows_all_marks else ():
            found = self._archive.load(generation)
            if found and found.leaf != certificate.leaf and self._is_fine(found, host, shelf) and self._serves(found):
                return found
        return None

    def generations(self, host: Hostname, family: KeyFamily) -> list[Certificate]:
        """Return what is kept of earlier certificates, newest first, condemned ones too."""
        found = (self._archive.load(one) for one in self._archive.of(live_file(host, family)))
        return [one for one in found if one is not None]

    def issued(self) -> Callable[[Hostname, KeyFamily], Sequence[datetime]]:
        """Return who tells when the kept certificates of a host begin, by the names of the files. Lists them once."""
        listing = self._archive.listing()
        return lambda host, family: [one.not_before for one in listing.get(slot(live_file(host, family)), ())]

    def condemn(self, host: Hostname, certificate: Certificate, why: str) -> None:
        """Never load it again, whatever else is lost; the previous generation takes its live place.

        Raises StoreError when the mark could not be kept; in this process it counts all the same.
        """
        key = live_file(host, certificate.family)
        before = self.previous(host, certificate)
        try:
            self._archive.condemn(key, certificate, self._why(host, why), self._clock.now())
        finally:
            for place in {key, host.text}:
                self._clear_place(place, certificate)
            if before is not None and self.store.load(key) is None:
                self.store.save(key, before.pem)

    def intend(self, host: Hostname, certificate: Certificate, why: str, reason: int) -> None:
        """Never load it from now on, because a CA is about to be asked to revoke it for `reason`.

        A copy is kept for who has to ask again. Raises StoreError.
        """
        self._add(live_file(host, certificate.family), certificate)
        self._archive.mark(certificate, {**self._why(host, why), "reason": reason})

    def pardon(self, host: Hostname, certificate: Certificate) -> None:
        """Let it load again: it was not revoked. Raises StoreError."""
        self._archive.unmark(certificate)
        if self.store.load(key := live_file(host, certificate.family)) is None:  # set aside meanwhile
            self.store.save(key, certificate.pem)

    def intended(self) -> list[tuple[Hostname, Certificate, int]]:
        """Return what no CA has said to have revoked yet, with its host and the reason."""
        found = []
        for mark, why in self._archive.why_marked():
            host, reason = Hostname.from_wire(str(why.get("host"))), why.get("reason")
            if host is not None and isinstance(reason, int):
                kept = (one for family in _BOTH for one in self.generations(host, family))
                found += [(host, one, reason) for one in kept if fingerprint(one) == mark]
        return [one for one in found if one[1].not_after > self._clock.now()]

    def is_condemned(self, certificate: Certificate) -> bool:
        """Return whether it must never be served again."""
        return fingerprint(certificate) in self._archive.marks()[0]

    def has_any(self) -> bool:
        """Return whether anything is or was here that a CA gave: also when that cannot be read now."""
        try:
            if self._archive.has_any() or self.store.inside("aside").names():
                return True
            return any(one.startswith("acme_account") or host_of(one) for one in self.store.names())
        except StoreError:
            return True

    def load_account_key(self) -> PrivateKey | None:
        """Return the account key, or None; a broken one is set aside. Raises StoreError when it cannot be read now."""
        try:
            pem = self.store.load(_ACCOUNT)
            return self._old_account_key() if pem is None else account_key_from_pem(pem)
        except (ValueError, DamagedError) as error:
            self._set_aside(_ACCOUNT, str(error), "a new account is made")
            return None

    def save_account_key(self, key: PrivateKey) -> None:
        """Keep the account key. Raises StoreError."""
        self.store.save(_ACCOUNT, key_to_pem(key))

    def _old_account_key(self) -> PrivateKey | None:
        try:
            pem = self.store.load(_OLD_ACCOUNT)
            return None if pem is None else account_key_from_pem(pem)
        except (ValueError, StoreError) as error:
            _log.warning("an old account key is left alone", extra={"file": _OLD_ACCOUNT, "reason": str(error)})
            return None

    # Loading

    def _load(self, host: Hostname, families: Sequence[KeyFamily], shelf: _Shelf) -> Certificate | None:
        lives: dict[str, Certificate | None] = {}
        trouble: dict[str, str] = {}
        unread: set[str] = set()  # what lies there may be newer than all that was found
        best: Certificate | None = None
        for family in families:
            key = live_file(host, family)
            for place in {key: 0, host.text: 0}:  # a plain file may hold RSA
                if place not in lives:
                    lives[place] = self._live(host, place, shelf, trouble, unread)
            found = self._best(host, family, key, lives, shelf)
            if found is not None and (best is None or self._serves(found)):
                best = found
            if best is not None and self._serves(best):
                break
        if not unread:
            self._repair(host, best, lives, trouble)
        return best

    def _live(
        self, host: Hostname, key: str, shelf: _Shelf, trouble: dict[str, str], unread: set[str]
    ) -> Certificate | None:
        try:
            pem = self.store.load(key)
            if pem is None:
                trouble[key] = "it was missing"
                return None
            certificate = Certificate.parse(pem)
            self._check(certificate, host, shelf)
        except StoreError as error:
            trouble[key] = str(error)
            if isinstance(error, DamagedError):
                self._set_aside(key, str(error), "an earlier copy is used, or a new certificate is ordered")
            else:
                unread.add(key)
                _log.error("a file of the cache cannot be read now", extra={"file": key, "reason": str(error)})
            return None
        except InvalidCertificate as error:
            trouble[key] = str(error)
            self._set_aside(key, str(error), "an earlier copy is used, or a new certificate is ordered")
            return None
        return certificate

    def _best(
        self, host: Hostname, family: KeyFamily, key: str, lives: dict[str, Certificate | None], shelf: _Shelf
    ) -> Certificate | None:
        """Return the newest valid certificate of a family; nothing of the archive is read that cannot be it."""
        best = max((one for one in lives.values() if one and one.family == family), key=self._rank, default=None)
        generations = shelf.listing.get(slot(key), ()) if shelf.knows_all_marks else ()
        now = self._clock.now()
        for valid in (True, False):
            for one in generations:
                if (one.not_before <= now < one.not_after) is not valid:
                    continue
                by_name = (valid, one.not_before, one.not_after)
                if best is not None and by_name <= self._rank(best) and not _is_torn(best, one.mark):
                    break
                found = self._archive.load(one)
                if found and found.family == family and self._is_fine(found, host, shelf):
                    if best is None or self._rank(found) > self._rank(best) or len(found.pem) > len(best.pem):
                        best = found
                    break
        return best

    def _repair(
        self,
        host: Hostname,
        best: Certificate | None,
        lives: dict[str, Certificate | None],
        trouble: dict[str, str],
    ) -> None:
        """Put what is the best into its live place when something else, or nothing, lies there."""
        if best is None:
            return
        key = live_file(host, best.family)
        live = lives.get(key)
        if any(one is not None and one.pem == best.pem for one in lives.values()):
            return
        reason = trouble.get(key) or ("an older one lay there" if live is not None else "it was missing")
        try:
            if live is not None:
                self._keep_live(host, key)
            self.store.save(key, best.pem)
        except StoreError as error:
            _log.error(
                "an earlier copy of the certificate serves, but could not be put back",
                extra={"host": host, "file": key, "why": reason, "reason": str(error)},
            )
            return
        _log.warning("the certificate was put back into the cache", extra={"host": host, "file": key, "why": reason})
        if self._told is not None:
            self._told(host, f"put back into {key}: {reason}")

    def _check(self, certificate: Certificate, host: Hostname, shelf: _Shelf) -> None:
        if not certificate.covers(host):
            names = ", ".join(sorted(map(str, certificate.names)))[:200]
            raise InvalidCertificate(f"the certificate is for {names}")
        mark = fingerprint(certificate)
        if mark in shelf.marks:
            raise _Condemned("the certificate was taken back or revoked: it never serves again")
        kept = shelf.listing.get(slot(live_file(host, certificate.family)), ())
        # That it is as it was is told sooner than who signed it: 1 ms each would hold up a start with ten thousand.
        if kept and not any(mark.startswith(one.mark) for one in kept):
            _check_signature(certificate)

    def _is_fine(self, certificate: Certificate, host: Hostname, shelf: _Shelf) -> bool:
        try:
            self._check(certificate, host, shelf)
        except InvalidCertificate:
            return False
        return True

    def _serves(self, certificate: Certificate) -> bool:
        return certificate.not_before <= self._clock.now() < certificate.not_after

    def _rank(self, certificate: Certificate) -> tuple[object, ...]:
        return self._serves(certificate), certificate.not_before, certificate.not_after

    # Keeping

    def _why(self, host: Hostname, why: str) -> dict[str, str]:
        return {"host": host.text, "why": why, "at": self._clock.now().isoformat(timespec="seconds")}

    def _keep_live(self, host: Hostname, key: str) -> None:
        """Archive what lies in the live place: another program may have put it there."""
        try:
            pem = self.store.load(key)
            live = None if pem is None else Certificate.parse(pem)
            if live is not None:
                _check_signature(live)
        except (StoreError, InvalidCertificate):
            return
        if live is not None and live.covers(host) and not self.is_condemned(live):
            self._add(live_file(host, live.family), live)

    def _add(self, key: str, certificate: Certificate) -> None:
        try:
            self._archive.add(key, certificate)
        except StoreError as error:  # the live file is what counts
            _log.error("no copy of the certificate is kept", extra={"file": key, "reason": str(error)})

    def _clear_place(self, key: str, condemned: Certificate) -> None:
        try:
            pem = self.store.load(key)
            if pem is not None and Certificate.parse(pem).leaf == condemned.leaf:
                self.store.set_aside(key)
        except InvalidCertificate:
            return

    def _set_aside(self, key: str, reason: str, next_step: str) -> None:
        try:
            place = self.store.set_aside(key)
        except StoreError as error:
            _log.error(
                "a file of the cache is broken and could not be set aside",
                extra={"file": key, "reason": reason, "error": str(error), "next": next_step},
            )
            return
        _log.error(
            "a file of the cache was broken and is set aside",
            extra={"file": key, "reason": reason, "now_at": place, "next": next_step},
        )


def _check_signature(certificate: Certificate) -> None:
    if is_unsigned(certificate):
        raise InvalidCertificate("the issuer in the file did not sign the certificate")


def _is_torn(live: Certificate, mark: str) -> bool:
    """Whether the copy may be the same leaf with more of its chain: a cut between two blocks goes unnoticed."""
    return live.pem.count(b"-----BEGIN CERTIFICATE") == 1 and fingerprint(live).startswith(mark)
