"""How a name looks from here: its addresses, its CAA records, and whether its port 80 leads to us."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from proxyd.core.caa import CaaRecord

_MOST = 64


class Port80(Enum):
    """Who answers at an address of the name when port 80 is asked for our nonce."""

    OURS = "this server"
    OTHER = "another server"
    CLOSED = "nobody"
    UNKNOWN = "not looked at"


@dataclass(frozen=True, slots=True)
class Reached:
    """What an address gave, in words too."""

    address: str
    port80: Port80
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NameView:
    """One look. `addresses` and `caa` are sorted; None: the DNS gave no answer (`trouble` says why).

    With `trouble`, `addresses` may be those of one family, as far as a CA sees them too.
    """

    addresses: tuple[str, ...] | None
    caa: tuple[CaaRecord, ...] | None
    reached: tuple[Reached, ...] = ()
    trouble: str | None = None

    @property
    def port80(self) -> Port80:
        """Return the answer that a CA has to fear most among the addresses: it may choose any."""
        seen = {one.port80 for one in self.reached}
        for worst in (Port80.OTHER, Port80.CLOSED, Port80.OURS):
            if worst in seen:
                return worst
        return Port80.UNKNOWN

    def to_document(self) -> dict[str, object]:
        """Return the view as JSON values."""
        return {
            "addresses": None if self.addresses is None else list(self.addresses),
            "caa": None if self.caa is None else [str(one) for one in self.caa],
            "port80": [[one.address, one.port80.value, one.words] for one in self.reached],
            "trouble": self.trouble,
        }

    @classmethod
    def read(cls, document: object) -> "NameView | None":
        """Return what `to_document` gave, or None."""
        if not isinstance(document, Mapping):
            return None
        caa, reached, trouble = (document.get(key) for key in ("caa", "port80", "trouble"))
        answers = reached[:_MOST] if isinstance(reached, list) else []
        return cls(
            addresses=_texts(document.get("addresses")),
            caa=None if (lines := _texts(caa)) is None else tuple(r for one in lines if (r := CaaRecord.parse(one))),
            reached=tuple(found for one in answers if (found := _reached(one))),
            trouble=trouble if isinstance(trouble, str) else None,
        )


def _texts(value: object) -> tuple[str, ...] | None:
    return tuple(str(one) for one in value[:_MOST]) if isinstance(value, list) else None


def _reached(value: object) -> Reached | None:
    if not isinstance(value, list) or len(value) != 3:
        return None
    address, port80, words = value
    try:
        return Reached(str(address), Port80(port80), str(words))
    except ValueError:
        return None
