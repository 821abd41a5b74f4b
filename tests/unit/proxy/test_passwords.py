"""Verification of passwords: once for all who wait, never too many, and nothing that is told by its time."""

import asyncio
import time

import bcrypt
import pytest
from argon2 import PasswordHasher

from proxyd.core.basic_credentials import Credentials
from proxyd.core.user_list import UserList
from proxyd.proxy import passwords
from proxyd.proxy.passwords import Passwords, matches

_ARGON2 = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("right")
_BCRYPT = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
USERS = UserList({b"alice": _ARGON2, b"bob": _BCRYPT})


@pytest.mark.parametrize("hashed", [_ARGON2, _BCRYPT, _BCRYPT.replace("$2b$", "$2y$")], ids=["argon2id", "2b", "2y"])
def test_each_kind_of_hash(hashed: str) -> None:
    assert matches(b"right", hashed)
    assert not matches(b"wrong", hashed)
    assert not matches(b"", hashed)
    assert not matches(b"right", "")


def test_a_long_password_is_what_htpasswd_makes_of_it() -> None:
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert matches(b"x" * 100, hashed)


async def ask(one: Passwords, name: bytes, password: bytes, client: str = "192.0.2.1") -> bool | None:
    given = Credentials(name, password)
    digest = one.digest(USERS, given)
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    if one.verify(USERS, given, digest, client, told.set_result) is None:
        return None
    return await told


async def test_what_was_right_is_remembered_until_the_list_changes() -> None:
    failures: list[str] = []
    one = Passwords(failed=failures.append)
    given = Credentials(b"alice", b"right")
    digest = one.digest(USERS, given)
    assert not one.knows(digest)
    assert await ask(one, *given)
    assert one.knows(digest)
    assert not one.knows(one.digest(USERS, Credentials(b"alice", b"wrong")))
    assert not one.knows(one.digest(UserList({b"alice": _BCRYPT}), given)), "a changed hash is another question"
    assert not one.knows(one.digest(UserList({}), given))
    assert not failures
    one.close()


async def test_those_who_bring_the_same_wait_for_one_look_and_one_failure() -> None:
    failures: list[str] = []
    one = Passwords(failed=failures.append)
    found = await asyncio.gather(*(ask(one, b"bob", b"wrong") for _ in range(200)))
    assert found == [False] * 200
    assert failures == ["192.0.2.1"]
    one.close()


async def test_no_more_wait_than_there_is_time_for_and_one_client_leaves_room() -> None:
    one = Passwords(failed=lambda _: None)
    asking = [asyncio.ensure_future(ask(one, b"bob", b"%d" % number)) for number in range(100)]
    others = [
        asyncio.ensure_future(ask(one, b"bob", b"of %d" % number, f"198.51.100.{number}")) for number in range(100)
    ]
    found, theirs = await asyncio.gather(*asking), await asyncio.gather(*others)
    assert (found.count(False), found.count(None)) == (32, 68)
    assert (theirs.count(False), theirs.count(None)) == (32, 68)
    assert await ask(one, b"bob", b"right"), "there is room again"
    one.close()


async def test_who_left_is_not_told_and_failed_all_the_same() -> None:
    failures: list[str] = []
    one = Passwords(failed=failures.append)
    given = Credentials(b"bob", b"wrong")

    def told(_: bool) -> None:
        raise AssertionError("it was cancelled")

    question = one.verify(USERS, given, one.digest(USERS, given), "c", told)
    assert question is not None
    question.cancel()
    assert not await ask(one, *given)  # joins the same look
    assert failures == ["c"]
    one.close()


async def test_an_unknown_name_takes_as_long_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    def look(password: bytes, hashed: str) -> bool:
        looked_at.append(hashed)
        return True  # as if the password were that of the other user

    monkeypatch.setattr(passwords, "matches", look)
    failures: list[str] = []
    one = Passwords(failed=failures.append)
    for number in range(20):
        assert not await ask(one, b"nobody %d" % number, b"right")
    assert {*looked_at} == {_ARGON2, _BCRYPT}
    assert len(looked_at) == len(failures) == 20
    one.close()


async def test_the_event_loop_goes_on_meanwhile() -> None:
    slow = UserList({b"alice": bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()})
    one = Passwords(failed=lambda _: None)
    given, told = Credentials(b"alice", b"right"), asyncio.get_running_loop().create_future()
    one.verify(slow, given, one.digest(slow, given), "c", told.set_result)
    turns, began = 0, time.monotonic()
    while not told.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100 * (time.monotonic() - began)
    one.close()
