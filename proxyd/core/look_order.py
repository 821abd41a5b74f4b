"""Whose names are looked at next, when there are more than the DNS may be asked for."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

T = TypeVar("T")


def look_order(due: Iterable[tuple[T, datetime, datetime | None]]) -> list[T]:
    """Return all of (who, failed at, last looked at): by turns the newest failure and whoever waits longest.

    So a person at work on a new host is served at once, and nobody is left out for ever.
    """
    known = list(due)
    newest = sorted(known, key=lambda one: one[1], reverse=True)
    longest = sorted(known, key=lambda one: (one[2] is not None, one[2] or one[1]))
    chosen: dict[T, None] = {}
    for first, second in zip(newest, longest, strict=True):
        chosen.setdefault(first[0])
        chosen.setdefault(second[0])
    return list(chosen)
