"""What must hold for any bytes in the configuration and in the cache."""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.certs.key import account_key_from_pem, key_from_pem
from proxyd.config.document import ConfigError
from proxyd.config.load import parse
from proxyd.core.hostname import Hostname
from proxyd.core.rate_ledger import CaLimits, RateLedger
from proxyd.core.state_document import read_failed, read_place, read_window
from proxyd.core.token_bucket import Limit
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import PRIVATE, DirectoryStore
from proxyd.store.journal import Journal
from proxyd.store.pending_orders import PLACE, PendingOrders
from tests.support.clock import FakeClock
from tests.support.strategies import NOW

_HOST = Hostname("a.example")


def config(data: bytes) -> None:
    """A file is taken, or refused with places that are in it; errors can be printed."""
    text = data.decode("utf-8", "replace")
    try:
        found = parse(text, "config.yaml")
    except ConfigError as error:
        assert error.mistakes
        lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029")
        for mistake in error.mistakes:
            assert 1 <= mistake.line <= lines + 2, mistake
            assert mistake.column >= 1
            assert mistake.show("config.yaml")
        return
    assert found.hosts
    assert all(Hostname.parse(name.text) == name for name in found.names)


def cache(data: bytes) -> None:
    """Files in the cache are read or left alone: what is broken never stops anybody. The first byte says which file."""
    kind, content = data[:1], data[1:]
    _KINDS[kind[0] % len(_KINDS) if kind else 0](content)


def _certificate(content: bytes) -> None:
    try:
        found = Certificate.parse(content)
    except InvalidCertificate as error:
        assert str(error)
        return
    assert found.names
    assert Certificate.parse(found.pem) == found


def _key(content: bytes) -> None:
    for read in (key_from_pem, account_key_from_pem):
        try:
            read(content)
        except ValueError as error:
            assert str(error)


def _document(content: bytes) -> None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    read_failed(document), read_window(document), read_place(document)
    limit = Limit(count=5, period=timedelta(hours=3))
    limits = CaLimits(orders=limit, certificates_per_domain=limit, duplicates=limit, failures=limit, accounts=limit)
    ledger = RateLedger(limits, registered_domain=lambda name: name.text)
    ledger.read_document(document, NOW, document.get("limits"))
    json.dumps(ledger.to_document(NOW))


def _in_cache(place: str, content: bytes, look: Callable[[Path], None]) -> None:
    root = Path(tempfile.mkdtemp(prefix="fuzz", dir=_memory()))
    try:
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_bytes(content)
        look(root)
    finally:
        shutil.rmtree(root)


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _order(content: bytes) -> None:
    def look(root: Path) -> None:
        orders = PendingOrders(DirectoryStore(root, clock=FakeClock()))
        orders.open()
        for one in orders.all():
            assert one.lineage.names

    _in_cache(f"{PRIVATE}/{PLACE}/x.json", content, look)


def _live(content: bytes) -> None:
    def look(root: Path) -> None:
        clock = FakeClock()
        found = CertificateStore(DirectoryStore(root, clock=clock), clock=clock).load(_HOST)
        assert found is None or _HOST in found.names or found.covers(_HOST) or found.names

    _in_cache(_HOST.text, content, look)


def _journal(content: bytes) -> None:
    def look(root: Path) -> None:
        journal = Journal(root / PRIVATE / "journal.sqlite3", clock=FakeClock())
        try:
            journal.open()
            journal.history(_HOST)
            journal.latest(10)
        finally:
            journal.close()

    _in_cache(f"{PRIVATE}/journal.sqlite3", content, look)


_KINDS = (_certificate, _key, _document, _order, _live, _journal)
logging.getLogger("proxyd").addHandler(logging.NullHandler())
