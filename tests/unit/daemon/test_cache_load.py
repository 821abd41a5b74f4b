import asyncio
import threading
from collections.abc import Iterable, Iterator

import pytest

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.daemon.cache_load import CacheLoad
from tests.support.certs import make_pem

HOSTS = [Hostname(f"h{number}.example") for number in range(200)]
LAST = HOSTS[-1]


def lineage(host: Hostname, *more: Hostname, kind: str = "p256") -> Lineage:
    return Lineage(host=host, names=(host, *more), key_kind=kind)


class Cache:
    """Has one certificate for everything; reads no further than `gate` lets it."""

    def __init__(self, *, missing: Hostname | None = None) -> None:
        self.order: list[Lineage] = []
        self.shown: list[Lineage] = []
        self.rejected: set[Hostname] = set()
        self.gate = threading.Semaphore(0)
        self._missing = missing
        self._certificate = Certificate.parse(make_pem("any.example"))

    def read(self, lineages: Iterable[Lineage]) -> Iterator[tuple[Lineage, Certificate | None]]:
        for one in lineages:
            assert self.gate.acquire(timeout=20)
            self.order.append(one)
            yield one, None if one.host == self._missing else self._certificate

    def show(self, lineage: Lineage, _certificate: Certificate) -> bool:
        assert threading.current_thread() is threading.main_thread()
        self.shown.append(lineage)
        return lineage.host not in self.rejected

    def open(self) -> None:
        self.gate.release(10_000)


def test_everything_is_read_once_and_what_serves_is_returned() -> None:
    cache = Cache(missing=HOSTS[3])
    cache.rejected = {HOSTS[4]}
    lineages = [lineage(host) for host in HOSTS]
    cache.open()
    found = asyncio.run(CacheLoad(lineages, read=cache.read, show=cache.show).run())
    assert cache.order == lineages
    assert cache.shown == [one for one in lineages if one.host != HOSTS[3]]
    assert set(found) == {one for one in lineages if one.host not in HOSTS[3:5]}


def test_who_is_asked_for_is_read_first() -> None:
    async def ask() -> None:
        cache = Cache()
        load = CacheLoad([lineage(host) for host in HOSTS], read=cache.read, show=cache.show)
        asked = asyncio.create_task(load.wait(LAST))
        await asyncio.sleep(0)  # it asks
        reading = asyncio.create_task(load.run())
        cache.gate.release(1)
        assert await asked
        assert cache.shown == [lineage(LAST)]
        cache.open()
        assert len(await reading) == len(HOSTS)
        assert len(cache.order) == len(HOSTS)  # and not once more

    asyncio.run(ask())


def test_a_name_waits_for_all_of_its_certificates() -> None:
    async def ask() -> None:
        cache, alias = Cache(), Hostname("www.example")
        both = [lineage(LAST, alias, kind=kind) for kind in ("p256", "rsa2048")]
        load = CacheLoad([*(lineage(host) for host in HOSTS[:-1]), *both], read=cache.read, show=cache.show)
        asked = asyncio.create_task(load.wait(alias))
        await asyncio.sleep(0)
        reading = asyncio.create_task(load.run())
        cache.gate.release(2)
        assert await asked
        assert cache.shown == both
        cache.open()
        await reading

    asyncio.run(ask())


def test_nobody_waits_for_names_that_the_cache_is_not_read_for_nor_for_ever() -> None:
    async def ask() -> None:
        cache = Cache()
        load = CacheLoad([lineage(LAST)], read=cache.read, show=cache.show, wait_seconds=0.01)
        assert await load.wait(HOSTS[0])
        assert not await load.wait(LAST)  # nothing reads it
        cache.open()
        await load.run()
        assert await load.wait(LAST)

    asyncio.run(ask())


def test_a_cancelled_load_reads_no_further() -> None:
    async def cancel() -> Cache:
        cache = Cache()
        load = CacheLoad([lineage(host) for host in HOSTS], read=cache.read, show=cache.show)
        asked = asyncio.create_task(load.wait(HOSTS[0]))
        await asyncio.sleep(0)
        reading = asyncio.create_task(load.run())
        cache.gate.release(1)
        await asked
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        cache.open()
        return cache

    assert len(asyncio.run(cancel()).order) <= 2


def test_what_breaks_the_read_ends_the_load() -> None:
    def read(_lineages: Iterable[Lineage]) -> Iterator[tuple[Lineage, Certificate | None]]:
        raise OSError("no descriptor left")

    with pytest.raises(OSError, match="no descriptor"):
        asyncio.run(CacheLoad([lineage(LAST)], read=read, show=lambda _one, _certificate: True).run())
