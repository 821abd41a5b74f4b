"""What a worker serves follows the news: certificates from the cache, or handed over; nothing good is dropped."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.daemon.channel import Message
from proxyd.daemon.mirror import Mirror
from proxyd.issuance.on_demand import Outcome
from tests.support.certs import make_pem
from tests.support.clock import FakeClock

A, B = Hostname("a.example"), Hostname("b.example")


def with_chain(one: Certificate) -> Certificate:
    """Return it with one more certificate behind the leaf."""
    other = make_pem("ca.example")
    return Certificate.parse(one.pem + other[other.index(b"-----BEGIN CERTIFICATE") :])


def certificate(*names: Hostname) -> Certificate:
    return Certificate.parse(make_pem(*map(str, names)))


class Issuer:
    """The other end: answers as it is told to."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.asked: list[Message] = []
        self.answers: dict[str, tuple[Any, bytes]] = {}
        self.said: list[Message] = []
        self.heard = asyncio.Event()
        self.mirror = Mirror(cache, send=self._hear, is_ours=lambda host: host in (A, B), clock=FakeClock())
        self.source = self.mirror.source()

    def keep(self, one: Certificate, host: Hostname) -> None:
        (self.cache / host.text).write_bytes(one.pem)

    def tell(self, *served: tuple[Hostname, Certificate | None]) -> None:
        news = {
            host.text: [] if one is None else [(one.digest, [host.text, *map(str, one.names)])] for host, one in served
        }
        self.mirror.heard({"serve": news}, b"")

    def tell_all(self, *served: tuple[Hostname, Certificate], complete: bool = True) -> None:
        state = {host.text: [(one.digest, [host.text])] for host, one in served}
        news = {"state": state, "complete": complete, "challenges": {"http": [], "tls": []}, "key": "00" * 32}
        self.mirror.heard(news, b"")

    def _hear(self, message: Message) -> None:
        self.said.append(message)
        self.heard.set()
        if "ask" in message:
            self.asked.append(message)
            if message["ask"] in self.answers:
                answer, payload = self.answers[message["ask"]]
                self.mirror.heard({"re": message["number"], "answer": answer}, payload)


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


async def following(issuer: Issuer, work: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(issuer.mirror.run())
        await work()
        running.cancel()


async def test_a_certificate_of_the_cache_is_read_when_it_is_asked_for(issuer: Issuer) -> None:
    one = certificate(A)
    issuer.keep(one, A)

    async def work() -> None:
        issuer.tell_all((A, one))
        await issuer.mirror.is_told.wait()
        assert issuer.mirror.table.certificate(A) is None
        assert await issuer.source.cache_read(A)
        assert issuer.mirror.table.certificate(A) == one
        assert issuer.asked == []

    await following(issuer, work)


async def test_one_that_the_cache_does_not_have_is_handed_over(issuer: Issuer) -> None:
    kept, new = certificate(A), certificate(A)
    issuer.keep(kept, A)
    issuer.answers["hand"] = None, new.pem

    async def work() -> None:
        issuer.tell_all((A, new))
        assert await issuer.source.cache_read(A)
        await issuer.mirror.is_told.wait()
        assert await issuer.source.cache_read(A)
        assert issuer.mirror.table.certificate(A) == new
        assert [one["ask"] for one in issuer.asked if one["ask"] == "hand"] == ["hand"]

    issuer.answers["read"] = True, b""
    await following(issuer, work)


async def test_what_serves_is_replaced_by_the_news_and_stays_when_the_new_one_cannot_be_had(issuer: Issuer) -> None:
    old, new = certificate(A), certificate(A)
    issuer.keep(old, A)
    issuer.answers["hand"] = None, b""

    async def work() -> None:
        issuer.tell_all((A, old))
        await issuer.mirror.is_told.wait()
        assert await issuer.source.cache_read(A)
        issuer.tell((A, new))
        issuer.mirror.heard({"sync": 1}, b"")
        await said(issuer, lambda: any(one["ask"] == "hand" for one in issuer.asked))
        assert issuer.mirror.table.certificate(A) == old
        assert {"synced": 1} not in issuer.said
        issuer.keep(new, A)  # it is tried again
        await said(issuer, lambda: {"synced": 1} in issuer.said)
        assert issuer.mirror.table.certificate(A) == new
        issuer.tell((A, None))
        await synced(issuer, 3)
        assert issuer.mirror.table.certificate(A) is None

    await following(issuer, work)


async def synced(issuer: Issuer, number: int) -> None:
    """Wait as the issuer does before it looks whether clients see a certificate."""
    issuer.mirror.heard({"sync": number}, b"")
    await said(issuer, lambda: {"synced": number} in issuer.said)


async def said(issuer: Issuer, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            issuer.heard.clear()
            await issuer.heard.wait()


async def test_a_new_issuer_takes_nothing_away_before_it_has_read_the_cache(issuer: Issuer) -> None:
    one, other = certificate(A), certificate(B)
    issuer.keep(one, A)
    issuer.keep(other, B)

    async def work() -> None:
        issuer.tell_all((A, one), (B, other))
        await issuer.mirror.is_told.wait()
        for host in (A, B):
            assert await issuer.source.cache_read(host)
        issuer.tell_all((B, other), complete=False)
        await synced(issuer, 1)
        assert issuer.mirror.table.certificate(A) == one
        issuer.tell_all((B, other))
        await synced(issuer, 2)
        assert issuer.mirror.table.certificate(A) is None
        assert issuer.mirror.table.certificate(B) == other

    await following(issuer, work)


async def test_what_was_served_before_it_began_is_served_without_an_issuer(issuer: Issuer) -> None:
    one = certificate(A, B)
    issuer.keep(one, A)
    issuer.mirror.remember({B.text: [[one.digest, [B.text, A.text]]]})
    assert await issuer.source.cache_read(B)
    assert issuer.mirror.table.certificate(B) == one
    assert issuer.asked == []


async def test_nobody_is_asked_about_names_that_are_not_ours(issuer: Issuer) -> None:
    stranger = Hostname("stranger.example")
    assert await issuer.source.cache_read(stranger)
    assert await issuer.source.obtain(stranger.text, "192.0.2.1") is Outcome.UNKNOWN
    assert await issuer.source.obtain(None, "192.0.2.1") is Outcome.UNKNOWN
    assert issuer.asked == []


async def test_a_name_on_demand_is_served_when_the_issuer_has_it(issuer: Issuer) -> None:
    one = certificate(A)
    issuer.answers["hand"] = None, one.pem

    async def work() -> None:
        issuer.tell_all()
        await issuer.mirror.is_told.wait()
        asking = asyncio.ensure_future(issuer.source.obtain(A.text, "192.0.2.1"))
        await asyncio.sleep(0)
        (question,) = issuer.asked
        assert (question["host"], question["client"]) == (A.text, "192.0.2.1")
        issuer.tell((A, one))
        issuer.mirror.heard({"re": question["number"], "answer": "served"}, b"")
        assert await asking is Outcome.SERVED
        assert issuer.mirror.table.certificate(A) == one

    await following(issuer, work)


async def test_a_new_issuer_is_asked_what_the_last_one_did_not_answer(issuer: Issuer) -> None:
    asking = asyncio.ensure_future(issuer.source.obtain(A.text, "192.0.2.1"))
    await asyncio.sleep(0)
    issuer.mirror.ask_again()
    first, second = issuer.asked
    assert first == second
    issuer.mirror.heard({"re": second["number"], "answer": "unknown"}, b"")
    assert await asking is Outcome.UNKNOWN
    issuer.mirror.ask_again()
    assert len(issuer.asked) == 2


async def test_who_leaves_is_forgotten(issuer: Issuer) -> None:
    asking = asyncio.ensure_future(issuer.source.obtain(A.text, "192.0.2.1"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert issuer.said[-1] == {"forget": issuer.asked[0]["number"]}


async def test_challenges_are_answered_as_long_as_they_are_pending(issuer: Issuer) -> None:
    digest = "11" * 32

    async def work() -> None:
        http, alpn = [[A.text, "token", "token.print"]], [[B.text, "token", digest]]
        issuer.mirror.heard({"challenges": {"http": http, "tls": alpn}}, b"")
        await synced(issuer, 1)
        assert issuer.source.board.answer(A, "token") == "token.print"
        assert issuer.source.challenges.select(B.text, "192.0.2.1") is not None
        assert {"hit": [B.text, "192.0.2.1", "token"]} in issuer.said
        issuer.mirror.heard({"challenges": {"http": [], "tls": []}}, b"")
        await synced(issuer, 2)
        assert issuer.source.board.answer(A, "token") is None
        assert issuer.source.challenges.select(B.text, "192.0.2.1") is None

    await following(issuer, work)
