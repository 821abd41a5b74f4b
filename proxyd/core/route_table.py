"""What is said about paths: the longest prefix holds."""

from collections.abc import Mapping
from typing import Generic, TypeVar

V = TypeVar("V")


class RouteTable(Generic[V]):
    """Prefixes end where segments do: `/api` is for /api, /api/ and /api/x, never for /apis. Frozen.

    A slash at the end of a prefix says nothing more. Paths are compared as they were sent: nothing is unescaped.
    """

    __slots__ = ("_depth", "_routes")

    def __init__(self, routes: Mapping[str, V]) -> None:
        self._routes = {same_prefix(prefix).encode(): value for prefix, value in routes.items()}
        self._depth = max((prefix.count(b"/") for prefix in self._routes), default=0)

    def find(self, target: bytes) -> tuple[V, bytes] | None:
        """Return what holds for a request's target, and what is left of it after the prefix, with its query."""
        parts = target.partition(b"?")[0].split(b"/", self._depth + 1)
        if not target.startswith(b"/"):  # OPTIONS *
            parts = [b""]
        for count in range(min(len(parts) - 1, self._depth), -1, -1):
            prefix = b"/".join(parts[: count + 1])
            value = self._routes.get(prefix)
            if value is not None:
                return value, target[len(prefix) :]
        return None


def same_prefix(prefix: str) -> str:
    """Return the one spelling of a prefix."""
    return prefix.removesuffix("/")
