"""Names of upstreams: newer addresses are used, and requests do not wait for them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from proxyd.upstream import addresses
from proxyd.upstream.addresses import AddressBook


class Names:
    """A resolver whose answers change; an error is raised, None never comes."""

    def __init__(self) -> None:
        self.answer: tuple[str, ...] | OSError | None = ("192.0.2.1",)
        self.asked = 0

    async def ask(self, name: str) -> tuple[str, ...]:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, OSError):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return self.answer or ()


@contextlib.asynccontextmanager
async def book_of(names: Names) -> AsyncIterator[AddressBook]:
    async with asyncio.TaskGroup() as tasks:
        book = AddressBook(tasks=tasks, ask=names.ask)
        yield book
        book.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_FRESH_SECONDS", 0.02)
    monkeypatch.setattr(addresses, "_FAILED_SECONDS", 0.02)
    monkeypatch.setattr(addresses, "_PATIENCE_SECONDS", 0.05)


async def test_who_asks_at_the_same_time_shares_one_look_up() -> None:
    names = Names()
    async with book_of(names) as book:
        found = await asyncio.gather(*(book.addresses("a.test") for _ in range(9)))
        assert found == [("192.0.2.1",)] * 9
        await book.addresses("a.test")
        assert names.asked == 1


async def test_new_addresses_are_used(quick: None) -> None:
    names = Names()
    async with book_of(names) as book:
        await book.addresses("a.test")
        names.answer = ("192.0.2.2", "2001:db8::2")
        await asyncio.sleep(0.03)
        assert await book.addresses("a.test") == names.answer


@pytest.mark.parametrize("trouble", [OSError("no answer"), None])
async def test_the_last_addresses_hold_while_there_is_no_answer(quick: None, trouble: OSError | None) -> None:
    names = Names()
    async with book_of(names) as book:
        await book.addresses("a.test")
        names.answer = trouble
        await asyncio.sleep(0.03)
        async with asyncio.timeout(0.5):
            assert await book.addresses("a.test") == ("192.0.2.1",)


async def test_a_name_that_is_not_found_is_looked_up_again(quick: None) -> None:
    names = Names()
    names.answer = OSError("no such name")
    async with book_of(names) as book:
        with pytest.raises(OSError, match="no such name"):
            await book.addresses("a.test")
        names.answer = ("192.0.2.3",)
        await asyncio.sleep(0.03)
        assert await book.addresses("a.test") == ("192.0.2.3",)


async def test_who_leaves_takes_nothing_from_others() -> None:
    names = Names()
    names.answer = None
    async with book_of(names) as book:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await book.addresses("a.test")
        waiting = asyncio.gather(book.addresses("a.test"), return_exceptions=True)
        await asyncio.sleep(0.02)
        assert names.asked == 1
        book.close()
        (result,) = await waiting
        assert isinstance(result, OSError)
