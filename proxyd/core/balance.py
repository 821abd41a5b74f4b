"""Which of several upstreams a request goes to."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal, Protocol, TypeVar

from proxyd.core.client_network import network_of

Policy = Literal["least_conn", "round_robin", "ip_hash", "first"]


class Candidate(Protocol):
    """An upstream that may be chosen. `active`: requests under way there."""

    @property
    def name(self) -> str: ...
    @property
    def active(self) -> int: ...


C = TypeVar("C", bound=Candidate)


class Balance:
    """Chooses by one policy, and remembers whose turn it is."""

    __slots__ = ("_turn", "policy")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._turn = -1

    def choose(self, candidates: Sequence[C], client: str) -> C:
        """Return one of `candidates`, of which there is at least one, for a request from the address `client`."""
        if self.policy == "first":
            return candidates[0]
        if self.policy == "ip_hash":
            # By the highest of one value each: when an upstream leaves, only its own clients go elsewhere.
            key = network_of(client, ipv4=32, ipv6=64).encode()  # the rest of an IPv6 address changes daily
            return max(candidates, key=lambda one: blake2b(key + one.name.encode(), digest_size=8).digest())
        self._turn += 1
        count = len(candidates)
        best = candidates[self._turn % count]
        if self.policy == "least_conn":
            # Beginning with the one whose turn it is: those that have as few share what comes.
            for step in range(1, count):
                one = candidates[(self._turn + step) % count]
                if one.active < best.active:
                    best = one
        return best
