"""The roots of our own CA in a store: at most one of each kind, never replaced without a word."""

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxyd.certs.certificate import InvalidCertificate
from proxyd.certs.internal_root import InternalRoot
from proxyd.store.store import DamagedError, Store, StoreError

PLACE = "internal-ca"
_log = logging.getLogger("proxyd.store")
#: A root that has no longer to live would cut the lives of certificates short.
_LAST = timedelta(days=30)


def root_file(*, limited: bool) -> str:
    """Return what the file of a root is called; `limited`: of the one that certifies local names only."""
    return "root.pem" if limited else "root-any-name.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootInUse:
    """The root to sign with. `is_new`: it was just made; `why`: what became of the one before, None: there was none."""

    root: InternalRoot
    is_new: bool = False
    why: str | None = None


class InternalRoots:
    """One file a root, key and certificate, 0600 in a directory 0700. Methods block on the disk; threads may call."""

    def __init__(self, store: Store, *, machine: str = "") -> None:
        self._store = store.inside(PLACE)
        self._machine = machine
        self._known: dict[bool, InternalRoot] = {}
        self._changing = threading.Lock()

    def read(self, *, limited: bool) -> InternalRoot | None:
        """Return the root, None: there is none. Raises StoreError, DamagedError when it can never be read."""
        file = root_file(limited=limited)
        if (pem := self._store.load(file)) is None:
            return None
        try:
            return InternalRoot.parse(pem)
        except InvalidCertificate as error:
            raise DamagedError(f"{file}, the root of the internal CA, is broken: {error}") from error

    def get(self, now: datetime, *, limited: bool) -> RootInUse:
        """Return the root to sign with; a new one where there is none, or where the one that was cannot be used.

        Only for whose turn it is to order (issuance/turn.py): two processes would make two. What is lost or broken on
        disk, and known here, is written again. Raises StoreError.
        """
        with self._changing:
            found, why = self._found(limited=limited)
            if found is not None and found.validity.not_after - now < _LAST:
                why = f"the one before ends on {found.validity.not_after:%Y-%m-%d}, {self._moved(limited=limited)}"
                found = None
            is_new = found is None
            if found is None:
                found = InternalRoot.make(self._machine, now, limited=limited)
                self._store.save(root_file(limited=limited), found.pem)
            self._known[limited] = found
            return RootInUse(root=found, is_new=is_new, why=why)

    def _found(self, *, limited: bool) -> tuple[InternalRoot | None, str | None]:
        """Return the root that is kept, or why it is none any more."""
        known, why = self._known.get(limited), None
        try:
            if (found := self.read(limited=limited)) is not None:
                return found, None
        except DamagedError as error:
            why = f"{error}, {self._moved(limited=limited)}"
        except StoreError:
            if known is None:
                raise
            return known, None
        if known is None:
            return None, why
        _log.warning("the internal CA's root was written again", extra={"reason": why or "its file had gone"})
        self._store.save(root_file(limited=limited), known.pem)
        return known, None

    def _moved(self, *, limited: bool) -> str:
        return f"and was moved to {self._store.set_aside(root_file(limited=limited))}"
