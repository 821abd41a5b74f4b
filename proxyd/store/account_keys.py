"""The account keys of one CA in a store."""

import logging
from dataclasses import dataclass

from proxyd.certs.key import PrivateKey, key_from_pem, key_to_pem
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.store import DamagedError

_log = logging.getLogger("proxyd.store")
_FIRST = "acme_account+key"


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """The key that is in use, and the one that shall follow it. `ca` is None for the first CA: autocert's name."""

    store: CertificateStore
    ca: str | None = None

    def load(self) -> list[PrivateKey]:
        """Return the key in use, then one whose change was cut off. Blocks. Broken files are not used.

        Raises StoreError when the disk cannot be read now: a new account would not be the answer.
        """
        used = self.store.load_account_key() if self.ca is None else self._read(self._name)
        return [key for key in (used, self._read(self._pending)) if key is not None]

    def save(self, key: PrivateKey, *, pending: bool = False) -> None:
        """Keep the key, durably. Blocks. Raises StoreError."""
        self.store.store.save(self._pending if pending else self._name, key_to_pem(key))

    @property
    def _name(self) -> str:
        return _FIRST if self.ca is None else f"{_FIRST}+{self.ca}"

    @property
    def _pending(self) -> str:
        return f"{self._name}+next"

    def _read(self, name: str) -> PrivateKey | None:
        try:
            pem = self.store.store.load(name)
            return None if pem is None else key_from_pem(pem)
        except (ValueError, DamagedError) as error:
            _log.error("an account key is broken; another is used", extra={"file": name, "reason": str(error)})
            return None
