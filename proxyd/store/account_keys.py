"""The account keys of one CA in a store."""

import contextlib
import logging
from dataclasses import dataclass, field

from proxyd.certs.key import PrivateKey, account_key_from_pem, key_to_pem
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import PRIVATE
from proxyd.store.store import DamagedError, Store, StoreError

_log = logging.getLogger("proxyd.store")
_FIRST = "acme_account+key"
#: Where a key waits until the CA has agreed to it.
_PENDING = "next-account-keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptKey:
    """A key that may be the CA's. `is_used`: it lies where `save` puts one; `is_own`: not another CA's for sure."""

    key: PrivateKey = field(repr=False)
    file: str
    is_used: bool
    is_own: bool


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """The key that is in use, and the one that shall follow it.

    `names` are what the CA may be called in files, the present one first. The file without a name (autocert's) is of
    the CA that was the first when it was made, which nobody has written down: so every CA may find its key there.
    """

    store: CertificateStore
    names: tuple[str, ...]
    is_first: bool

    def load(self) -> list[KeptKey]:
        """Return the key in use, one whose change was cut off, then those that may be another CA's. Blocks.

        Broken files are not used. Raises StoreError when the disk cannot be read now: a new account would not be the
        answer.
        """
        used = self._used()
        named = [f"{_FIRST}+{name}" for name in self.names]
        found = []
        for file in dict.fromkeys((used, *named, _FIRST)):
            is_own = file in (used, *named)
            if key := self._read(file):
                found.append(KeptKey(key=key, file=file, is_used=file == used, is_own=is_own))
            if key := self._read_pending(file):
                found.append(KeptKey(key=key, file=f"{PRIVATE}/{_PENDING}/{file}", is_used=False, is_own=is_own))
        return found

    def save(self, key: PrivateKey, *, pending: bool = False, apart: bool = False) -> None:
        """Keep the key, durably; `apart`: from now on in a file of this CA alone. Blocks. Raises StoreError."""
        file, pem = f"{_FIRST}+{self.names[0]}" if apart else self._used(), key_to_pem(key)
        if pending:
            self._pending.save(file, pem)
            return
        self.store.store.save(file, pem)
        with contextlib.suppress(StoreError):  # twice the same key harms nobody; another one may be the CA's yet
            if self._pending.load(file) == pem:
                self._pending.remove(file)

    @property
    def _pending(self) -> Store:
        return self.store.store.inside(_PENDING)

    def _used(self) -> str:
        kept = {*self.store.store.names()}
        named = [f"{_FIRST}+{name}" for name in self.names]
        return next((file for file in named if file in kept), _FIRST if self.is_first else named[0])

    def _read(self, name: str) -> PrivateKey | None:
        return self.store.load_account_key() if name == _FIRST else _key(self.store.store, name)

    def _read_pending(self, name: str) -> PrivateKey | None:
        return _key(self._pending, name)


def _key(store: Store, name: str) -> PrivateKey | None:
    try:
        pem = store.load(name)
        return None if pem is None else account_key_from_pem(pem)
    except (ValueError, DamagedError) as error:
        _log.error("an account key is broken; another is used", extra={"file": name, "reason": str(error)})
        return None
