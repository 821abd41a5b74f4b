"""Strict-Transport-Security as it is written in the file."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, WithJsonSchema

from proxyd.config.option import Options, option
from proxyd.config.values import parse_duration

#: What the browsers' built-in list wants (hstspreload.org).
_PRELOAD_AGE = timedelta(days=365)
_LONGEST = timedelta(days=3650)


def _read_age(written: object) -> object:
    if written == "ramp":
        return written
    found = parse_duration(written)
    if not timedelta(0) <= found <= _LONGEST:
        raise ValueError("must be from 0 (browsers forget it) to ten years")
    return found


class Hsts(Options):
    """Browsers use https for the host and nothing else (RFC 6797)."""

    max_age: Annotated[
        timedelta | Literal["ramp"],
        BeforeValidator(_read_age),
        WithJsonSchema({"type": ["string", "integer"], "examples": ["365d", "ramp"]}),
    ] = option("365d", "how long browsers remember; 0: they forget; ramp: longer with each renewal")
    include_subdomains: bool = option(True, "for all names below it, too")
    preload: bool = option(False, "agree to be in the browsers' built-in list")

    def mistakes(self) -> Iterator[str]:
        """Say what does not go together."""
        if not self.preload:
            return
        if self.max_age == "ramp" or self.max_age < _PRELOAD_AGE:
            yield "preload needs a max_age of at least 365d: the browsers' list takes no less"
        if not self.include_subdomains:
            yield "preload needs include_subdomains: true: the browsers' list takes nothing else"


def read_hsts(written: object) -> object:
    """Read true as the defaults, false as none, and `ramp` as the careful way: the host alone, longer and longer."""
    if written == "ramp":
        return {"max_age": "ramp", "include_subdomains": False}
    if isinstance(written, str | int) and not isinstance(written, bool):
        raise ValueError("must be true, false, ramp, or like {max_age: 365d, include_subdomains: true}")
    return None if written is False else {} if written is True else written
