"""Passwords against their hashes: off the event loop, two at a time, each but once in a few minutes."""

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b
from time import monotonic
from typing import Final

import bcrypt
from argon2.exceptions import Argon2Error
from argon2.low_level import Type, verify_secret

from proxyd.core.basic_credentials import Credentials
from proxyd.core.client_network import network_of
from proxyd.core.user_list import UserList

_log = logging.getLogger("proxyd.proxy")
#: A hash takes a core for a twentieth of a second, and tens of megabytes.
_AT_ONCE: Final = 2
#: Of all processes of a daemon, for they are forked: who verifies has one of its first bytes locked.
_TURNS: Final = os.memfd_create("passwords")
#: Verifications that wait, of all clients and of one: more would wait for seconds.
_MOST, _MOST_EACH = 64, 32
#: How long what was right is taken as right without a look, and how much of it is remembered.
_SECONDS: Final = 300.0
_REMEMBERED: Final = 10_000
#: As all others do that make or read bcrypt.
_BCRYPT_BYTES: Final = 72

_Told = Callable[[bool], None]


class Verification:
    """One that is under way, for all who brought the same."""

    __slots__ = ("network", "waiting")

    def __init__(self, network: str) -> None:
        self.network = network
        self.waiting: list[_Told | None] = []


class Answering:
    """Implements Question: somebody who waits for a verification."""

    __slots__ = ("_place", "_verification")

    def __init__(self, verification: Verification, told: _Told) -> None:
        self._verification, self._place = verification, len(verification.waiting)
        verification.waiting.append(told)

    def cancel(self) -> None:
        """Wait no more; it is looked at all the same: who leaves at once would get tries for nothing."""
        self._verification.waiting[self._place] = None


class Passwords:
    """Verifies. What was right is remembered under a digest with a key of this process, never as it was sent.

    `failed` is told the client of each password that was wrong, once however many brought it.
    """

    def __init__(self, *, failed: Callable[[str], None]) -> None:
        self._failed = failed
        self._key = secrets.token_bytes(32)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        self._turns = [*range(_AT_ONCE)]  # that no thread of this process has
        self._good: OrderedDict[bytes, float] = OrderedDict()
        self._under_way: dict[bytes, Verification] = {}
        self._each: Counter[str] = Counter()

    def digest(self, users: UserList, given: Credentials) -> bytes:
        """Return what stands for credentials that are looked at by this list, as it is now."""
        digest = blake2b(users.hashes.get(given.name, "").encode(), key=self._key, digest_size=32)
        digest.update(b"\0%b\0%b" % given)
        return digest.digest()

    def knows(self, digest: bytes) -> bool:
        """Return whether they were right not long ago."""
        until = self._good.get(digest)
        if until is None:
            return False
        if until <= monotonic():
            del self._good[digest]
            return False
        self._good.move_to_end(digest)
        return True

    def verify(self, users: UserList, given: Credentials, digest: bytes, client: str, told: _Told) -> Answering | None:
        """Begin to look whether they are right; `told` is called with it. None: too many wait already.

        For a name that is not in the list another one's hash is looked at, so that it takes as long.
        """
        found = self._under_way.get(digest)
        if found is None:
            network = network_of(client, ipv4=32, ipv6=64)
            if len(self._under_way) >= _MOST or self._each[network] >= _MOST_EACH:
                return None
            hashed, is_user = self._hash_for(users, given.name)
            found = self._under_way[digest] = Verification(network)
            self._each[network] += 1
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._threads, self._matches, given.password, hashed)
            future.add_done_callback(partial(self._done, digest, client, is_user))
        return Answering(found, told)

    def close(self) -> None:
        """Begin no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: bytes, hashed: str) -> bool:
        """Wait for one's turn among all processes, and look. The turn of a process that ends is free."""
        turn = self._turns.pop()
        fcntl.lockf(_TURNS, fcntl.LOCK_EX, 1, turn)
        try:
            return matches(password, hashed)
        finally:
            fcntl.lockf(_TURNS, fcntl.LOCK_UN, 1, turn)
            self._turns.append(turn)

    def _hash_for(self, users: UserList, name: bytes) -> tuple[str, bool]:
        hashed = users.hashes.get(name)
        if hashed is not None:
            return hashed, True
        digest = blake2b(name, key=self._key, digest_size=8).digest()  # the same one each time
        hashes = [*users.hashes.values()]
        return hashes[int.from_bytes(digest) % len(hashes)] if hashes else "", False

    def _done(self, digest: bytes, client: str, is_user: bool, future: "asyncio.Future[bool]") -> None:
        verification = self._under_way.pop(digest)
        self._each[verification.network] -= 1
        if not self._each[verification.network]:
            del self._each[verification.network]
        if future.cancelled():  # we go away
            return
        if (error := future.exception()) is not None:
            _log.error("a password cannot be verified", extra={"reason": type(error).__name__})
        is_right = is_user and error is None and future.result()
        if is_right:
            self._good[digest] = monotonic() + _SECONDS
            if len(self._good) > _REMEMBERED:
                self._good.popitem(last=False)
        else:
            self._failed(client)
        for told in verification.waiting:
            if told is not None:
                told(is_right)


def matches(password: bytes, hashed: str) -> bool:
    """Return whether it is the password of a hash. Takes long: not for the event loop."""
    if hashed.startswith("$argon2"):
        with contextlib.suppress(Argon2Error):
            return verify_secret(hashed.encode(), password, Type.ID)
        return False
    return bool(hashed) and bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed.encode())
