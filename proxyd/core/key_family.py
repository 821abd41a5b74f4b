"""The two families of certificate keys: a host has at most one certificate of each."""

from typing import Literal

KeyFamily = Literal["ec", "rsa"]
_FAMILIES: tuple[KeyFamily, ...] = ("ec", "rsa")


def key_family(key_kind: str) -> KeyFamily:
    """Return the family of a kind of key (p256, rsa2048, …)."""
    return "rsa" if key_kind.startswith("rsa") else "ec"


def families_from(first: KeyFamily) -> tuple[KeyFamily, ...]:
    """Return both, the wanted one first."""
    return first, *(one for one in _FAMILIES if one != first)
