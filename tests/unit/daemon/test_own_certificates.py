"""What a broken pair leaves as it was, and what is known of each host."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from proxyd.config.load import parse
from proxyd.config.model import Config
from proxyd.core.hostname import Hostname
from proxyd.core.manual import Manual
from proxyd.daemon.own_certificates import OwnCertificates
from proxyd.issuance.memory import Memory
from proxyd.store.journal import Journal
from proxyd.tls.certificate_table import CertificateTable
from tests.support.clock import FakeClock
from tests.support.own_files import Issued, TestCa, put

HOST, ALIAS = Hostname("a.example.test"), Hostname("b.example.test")
CA = TestCa()
DAY = timedelta(days=1)


class Owner:
    """Certificates with one file, for one host and an alias."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "own.pem"
        self.clock = FakeClock(datetime.now(UTC))
        self.table = CertificateTable()
        memory = Memory(Journal(directory / "journal.sqlite3", clock=self.clock), clock=self.clock)
        memory.open(is_first=True)
        self.own = OwnCertificates(table=self.table, memory=memory, clock=self.clock)
        self.close: Callable[[], None] = memory.close

    def config(self) -> Config:
        tls = f"{{cert: {self.file}}}"
        return parse(f"hosts: {{{HOST}: {{upstream: 1, aliases: [{ALIAS}], tls: {tls}}}}}", "f")

    async def read(self, one: Issued | None) -> None:
        if one is not None:
            put(self.file, one.chain + one.key, mode=0o600)
        self.own.use(self.config())
        await self.own.load()

    def serial(self, host: Hostname = HOST) -> str | None:
        one = self.table.certificate(host)
        return None if one is None else f"{one.serial:x}"

    def reason(self, host: Hostname = HOST) -> str | None:
        (facts,) = self.own.facts(frozenset({host}))
        assert isinstance(facts.state, Manual)
        return facts.state.reason


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path)


def issue(owner: Owner, *names: str, begins: timedelta = -DAY, lasts: timedelta = 90 * DAY, **more: object) -> Issued:
    return CA.issue(*(names or (HOST.text, ALIAS.text)), begins=begins, lasts=lasts, **more)  # type: ignore[arg-type]


async def test_what_cannot_serve_leaves_what_does(owner: Owner) -> None:
    good = issue(owner)
    await owner.read(good)
    assert owner.serial() == owner.serial(ALIAS) == good.serial
    assert owner.reason() is None
    await owner.read(issue(owner, key=rsa.generate_private_key(65537, 1024)))
    assert owner.serial() == good.serial
    assert "OpenSSL does not take it" in (owner.reason() or "")
    other = issue(owner, HOST.text)
    await owner.read(other)
    assert (owner.serial(), owner.serial(ALIAS)) == (other.serial, good.serial)
    assert "is not for b.example.test" in (owner.reason(ALIAS) or "")
    owner.file.unlink()
    await owner.read(None)
    assert (owner.serial(), owner.serial(ALIAS)) == (other.serial, good.serial)
    owner.close()


async def test_who_is_asked_for_is_read_at_once(owner: Owner) -> None:
    put(owner.file, issue(owner).chain, mode=0o600)
    owner.own.use(owner.config())
    await owner.own.wait(Hostname("other.example.test"))
    assert owner.serial() is None
    good = issue(owner)
    put(owner.file, good.chain + good.key, mode=0o600)
    await owner.own.wait(ALIAS)
    assert owner.serial() == good.serial
    owner.close()


async def test_facts_follow_the_time_and_the_table(owner: Owner) -> None:
    await owner.read(issue(owner))
    first, again = [*owner.own.facts()], [*owner.own.facts()]
    assert all(one is other for one, other in zip(first, again, strict=True))
    owner.clock.advance(1000 * DAY)
    assert "expired at" in (owner.reason() or "")
    owner.table.remove(HOST)
    (facts,) = owner.own.facts(frozenset({HOST}))
    assert facts.held is None
    assert owner.own.files(HOST) == str(owner.file)
    assert owner.own.files(Hostname("other.example.test")) is None
    owner.close()


async def test_one_that_is_not_valid_yet_waits_while_another_serves(owner: Owner) -> None:
    later = issue(owner, begins=30 * DAY)
    await owner.read(later)
    assert owner.serial() == later.serial, "there is nothing better"
    good = issue(owner)
    await owner.read(good)
    await owner.read(later)
    assert owner.serial() == good.serial
    assert "not valid before" in (owner.reason() or "")
    owner.close()
