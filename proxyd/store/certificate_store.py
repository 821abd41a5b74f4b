"""Certificates and the account key in a store, by autocert's names."""

import logging
from dataclasses import dataclass

from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.certs.key import PrivateKey, key_from_pem, key_to_pem
from proxyd.core.hostname import Hostname
from proxyd.store.store import Store, StoreError

_ACCOUNT = "acme_account+key"
_OLD_ACCOUNT = "acme_account.key"  # of early autocert, which still reads it; nobody writes it
_log = logging.getLogger("proxyd.store")


@dataclass(frozen=True, slots=True)
class CertificateStore:
    """Typed face over a Store. Methods block on the disk; nothing invalid is ever returned."""

    store: Store

    def load(self, host: Hostname) -> Certificate | None:
        """Return the host's certificate, expired or not. What is broken is set aside, with a log line."""
        try:
            pem = self.store.load(host.text)
            if pem is None:
                return None
            certificate = Certificate.parse(pem)
            if not certificate.covers(host):
                raise InvalidCertificate(f"the certificate is for {', '.join(sorted(map(str, certificate.names)))}")
        except (InvalidCertificate, StoreError) as error:
            self._set_aside(host.text, str(error), "a new certificate is ordered")
            return None
        return certificate

    def save(self, host: Hostname, certificate: Certificate) -> None:
        """Replace the host's certificate, durably. Raises StoreError; the old file is intact then."""
        self.store.save(host.text, certificate.pem)

    def load_account_key(self) -> PrivateKey | None:
        """Return the account key, or None; a broken one is set aside."""
        try:
            pem = self.store.load(_ACCOUNT)
            return self._old_account_key() if pem is None else key_from_pem(pem)
        except (ValueError, StoreError) as error:
            self._set_aside(_ACCOUNT, str(error), "a new account is made")
            return None

    def _old_account_key(self) -> PrivateKey | None:
        try:
            pem = self.store.load(_OLD_ACCOUNT)
            return None if pem is None else key_from_pem(pem)
        except (ValueError, StoreError) as error:
            _log.warning("an old account key is left alone", extra={"file": _OLD_ACCOUNT, "reason": str(error)})
            return None

    def save_account_key(self, key: PrivateKey) -> None:
        """Keep the account key. Raises StoreError."""
        self.store.save(_ACCOUNT, key_to_pem(key))

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
