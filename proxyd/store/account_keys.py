"""The account keys of one CA in a store."""

import logging
from dataclasses import dataclass

from proxyd.certs.key import PrivateKey, key_from_pem, key_to_pem
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.store import DamagedError

_log = logging.getLogger("proxyd.store")
_FIRST = "acme_account+key"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptKey:
    """A key that may be the CA's. `is_used`: it lies where `save` puts one; `is_own`: not another CA's for sure."""

    key: PrivateKey
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
        files = dict.fromkeys((used, *named, _FIRST))
        return [
            KeptKey(key=key, file=one, is_used=one == used, is_own=file in (used, *named))
            for file in files
            for one in (file, f"{file}+next")
            if (key := self._read(one))
        ]

    def save(self, key: PrivateKey, *, pending: bool = False, apart: bool = False) -> None:
        """Keep the key, durably; `apart`: from now on in a file of this CA alone. Blocks. Raises StoreError."""
        file = f"{_FIRST}+{self.names[0]}" if apart else self._used()
        self.store.store.save(f"{file}+next" if pending else file, key_to_pem(key))

    def _used(self) -> str:
        kept = {*self.store.store.names()}
        named = [f"{_FIRST}+{name}" for name in self.names]
        return next((file for file in named if file in kept), _FIRST if self.is_first else named[0])

    def _read(self, name: str) -> PrivateKey | None:
        if name == _FIRST:
            return self.store.load_account_key()
        try:
            pem = self.store.store.load(name)
            return None if pem is None else key_from_pem(pem)
        except (ValueError, DamagedError) as error:
            _log.error("an account key is broken; another is used", extra={"file": name, "reason": str(error)})
            return None
