"""One thing that happened, as the journal keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from proxyd.core.hostname import Hostname

JsonValue = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEvent:
    """`kind` is a short lower-case phrase, `fields` are plain values; `host` None: it happened to all of them."""

    at: datetime
    host: Hostname | None
    kind: str
    issuer: str | None
    fields: Mapping[str, JsonValue]

    def text(self, key: str) -> str:
        """Return a field as text, empty when it is none."""
        value = self.fields.get(key)
        return value if isinstance(value, str) else ""

    def texts(self, key: str) -> list[str]:
        """Return a field as a list of texts: of a list, the keys' and values' of a mapping, or the one that it is."""
        match self.fields.get(key):
            case str(one) if one:
                return [one]
            case list(many):
                return [one for one in many if isinstance(one, str)]
            case dict(many):
                return [found for one, value in many.items() if (found := _pair(one, value))]
            case _:
                return []


def _pair(key: object, value: object) -> str:
    shown = ", ".join(str(one) for one in value) if isinstance(value, list) else value
    return f"{key}: {shown}" if isinstance(shown, str) and shown else ""
