"""Orders that a CA has taken, with the key of the certificate to come: kept until the certificate is."""

import hashlib
import json
import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509

from proxyd.certs.certificate import Certificate
from proxyd.certs.key import PrivateKey, key_from_pem, key_to_pem
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.store.store import DamagedError, Store, StoreError

PLACE = "orders"
_log = logging.getLogger("proxyd.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingOrder:
    """An order at a CA. `account` is the URL of the account that placed it."""

    issuer: str
    lineage: Lineage
    url: str
    account: str
    placed_at: datetime
    key: PrivateKey = field(repr=False)

    def gave(self, certificate: Certificate) -> bool:
        """Return whether the certificate is this order's."""
        return x509.load_der_x509_certificate(certificate.leaf).public_key() == self.key.public_key()


class PendingOrders:
    """One file an order, 0600 like the certificates; at most one for each lineage and CA. Methods block on the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store.inside(PLACE)
        self._orders: dict[tuple[str, Lineage], PendingOrder] = {}  # replaced, never changed: threads read it
        self._changing = threading.Lock()
        self.trouble: str | None = None  # why it is not known what was ordered

    def open(self) -> None:
        """Read what the last process left. Raises StoreError; broken files are deleted, they hold nothing else."""
        try:
            keys = self._store.names()
        except StoreError as error:
            self.trouble = str(error)
            raise
        self.trouble = None
        with self._changing:
            self._orders = {}
        for key in keys:
            try:
                order = _read(self._store.load(key) or b"")
            except (DamagedError, ValueError) as error:
                _log.warning(
                    "an interrupted order cannot be read: forgotten", extra={"file": key, "reason": str(error)}
                )
                self._discard(key)
            except StoreError as error:  # the next start may read it
                _log.error("an interrupted order cannot be read now", extra={"file": key, "reason": str(error)})
            else:
                self._put(order)

    def all(self) -> list[PendingOrder]:
        """Return every order that is kept. Does not block."""
        return list(self._orders.values())

    def of(self, lineage: Lineage) -> list[PendingOrder]:
        """Return the orders of a lineage, at whatever CA. Does not block."""
        return [one for one in self._orders.values() if one.lineage == lineage]

    def find(self, issuer: str, lineage: Lineage) -> PendingOrder | None:
        """Return the order of a lineage at a CA. Does not block."""
        return self._orders.get((issuer, lineage))

    def save(self, order: PendingOrder) -> None:
        """Keep an order, durably. Raises StoreError."""
        self._store.save(_file(order), _written(order))
        self._put(order)

    def forget(self, order: PendingOrder) -> None:
        """Forget an order; harmless twice. A file that stays is looked at again after the next start."""
        with self._changing:
            self._orders = {key: one for key, one in self._orders.items() if one is not order}
            if (order.issuer, order.lineage) in self._orders:  # a newer one has its place
                return
        self._discard(_file(order))

    def _put(self, order: PendingOrder) -> None:
        with self._changing:
            self._orders = {**self._orders, (order.issuer, order.lineage): order}

    def _discard(self, key: str) -> None:
        try:
            self._store.remove(key)
        except StoreError as error:
            _log.warning("a finished order could not be deleted", extra={"reason": str(error)})


def _file(order: PendingOrder) -> str:
    """Names can be too long for a file's."""
    text = f"{order.issuer} {order.lineage.key_kind} {' '.join(one.text for one in order.lineage.names)}"
    return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _written(order: PendingOrder) -> bytes:
    lineage = order.lineage
    document = {
        "issuer": order.issuer,
        "host": lineage.host.text,
        "names": [one.text for one in lineage.names],
        "key_kind": lineage.key_kind,
        "url": order.url,
        "account": order.account,
        "placed_at": order.placed_at.isoformat(),
        "key": key_to_pem(order.key).decode(),
    }
    return json.dumps(document, indent=1).encode()


def _read(content: bytes) -> PendingOrder:
    """Raises ValueError."""
    try:
        document: dict[str, Any] = json.loads(content)
        placed_at = datetime.fromisoformat(document["placed_at"])
        texts = [str(document[key]) for key in ("issuer", "url", "account", "key_kind")]
        lineage = Lineage(
            host=Hostname.parse(document["host"]),
            names=tuple(Hostname.parse(one) for one in document["names"]),
            key_kind=texts[3],
        )
        key = key_from_pem(document["key"].encode())
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no order in it ({type(error).__name__})") from None
    if placed_at.tzinfo is None:
        raise ValueError("a time without its zone")
    return PendingOrder(issuer=texts[0], lineage=lineage, url=texts[1], account=texts[2], placed_at=placed_at, key=key)
