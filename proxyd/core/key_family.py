"""The two families of certificate keys: a host has at most one certificate of each."""

from typing import Literal

KeyFamily = Literal["ec", "rsa"]


def key_family(key_kind: str) -> KeyFamily:
    """Return the family of a kind of key (p256, rsa2048, …)."""
    return "rsa" if key_kind.startswith("rsa") else "ec"
