"""Bytes by key, atomic and durable."""

from typing import Protocol


class StoreError(Exception):
    """The store cannot do what was asked; the text names the place, the reason and the next step."""


class DamagedError(StoreError):
    """What lies under the key can never be read: it may be set aside. Other errors may pass by themselves."""


class Store(Protocol):
    """All methods block on the disk (call them off the event loop); keys are file names without a slash.

    `trouble`: why the last probe failed, until something could be written again.
    """

    trouble: str | None

    def load(self, key: str) -> bytes | None:
        """Return the bytes, or None when there are none. Raises StoreError when they cannot be read."""
        ...

    def save(self, key: str, content: bytes) -> None:
        """Replace the bytes: afterwards they survive a power loss; on StoreError the old ones are intact."""
        ...

    def remove(self, key: str) -> None:
        """Delete the bytes, if there are any. Raises StoreError."""
        ...

    def set_aside(self, key: str) -> str:
        """Move broken bytes out of the way, without deleting them; return where they are now. Raises StoreError."""
        ...

    def stamps(self) -> dict[str, tuple[int, ...]] | None:
        """Return for each key a value that changes when its bytes do; None: nothing changed since the last call."""
        ...

    def names(self) -> list[str]:
        """Return all keys, none when there is no such place. Raises StoreError."""
        ...

    def inside(self, place: str) -> "Store":
        """Return the store of a private place beside the keys."""
        ...

    def probe(self) -> None:
        """Write, sync and read back, and clear what a killed process left. Raises StoreError."""
        ...
