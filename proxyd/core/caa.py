"""CAA records: which CAs a domain's owner allows (RFC 8659)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

_CRITICAL = 128
_KNOWN_TAGS = frozenset({"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"})


@dataclass(frozen=True, slots=True, order=True)
class CaaRecord:
    """One property; the tag is in lower case."""

    flags: int
    tag: str
    value: str

    def __str__(self) -> str:
        return f'{self.flags} {self.tag} "{self.value}"'

    @classmethod
    def parse(cls, text: str) -> "CaaRecord | None":
        """Return the record that `str` gave, or None."""
        flags, _, rest = text.partition(" ")
        tag, _, value = rest.partition(" ")
        if not flags.isascii() or not flags.isdigit() or len(flags) > 3 or not tag or len(value) < 2:
            return None
        return cls(int(flags), tag, value[1:-1])


def permits(records: Sequence[CaaRecord], identities: Collection[str], *, wildcard: bool = False) -> bool:
    """Return whether the relevant record set lets the CA of these identities issue (RFC 8659 §4)."""
    if any(record.flags & _CRITICAL and record.tag not in _KNOWN_TAGS for record in records):
        return False
    chosen = [record for record in records if record.tag == "issuewild"] if wildcard else []
    chosen = chosen or [record for record in records if record.tag == "issue"]
    ours = {identity.lower().rstrip(".") for identity in identities}
    return not chosen or any(_issuer(record.value) in ours for record in chosen)


def _issuer(value: str) -> str:
    return value.partition(";")[0].strip().lower().rstrip(".")
