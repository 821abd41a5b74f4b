"""Problem documents of an ACME CA (RFC 7807, RFC 8555 §6.7), kept whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

_PREFIX = "urn:ietf:params:acme:error:"
_MAX_DETAIL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the CA said. `kind` is the type without the ACME prefix; all text is hostile until shown escaped."""

    kind: str
    detail: str
    status: int
    retry_after: timedelta | None = None
    subproblems: tuple["Problem", ...] = ()

    @classmethod
    def parse(cls, document: object, *, status: int, retry_after: timedelta | None = None) -> "Problem":
        """Return the problem in a decoded JSON body; anything that is none becomes a problem of kind "none"."""
        fields = document if isinstance(document, Mapping) else {}
        nested = fields.get("subproblems")
        declared = fields.get("status")
        return cls(
            kind=_text(fields.get("type")).removeprefix(_PREFIX) or "none",
            detail=_text(fields.get("detail")),
            status=status or (declared if isinstance(declared, int) else 0),
            retry_after=retry_after,
            subproblems=tuple(cls.parse(one, status=0) for one in (nested if isinstance(nested, list) else [])[:100]),
        )

    def __str__(self) -> str:
        """Return kind and details on one line, the subproblems' after them."""
        parts = [self.detail, *(str(one) for one in self.subproblems)]
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{self.kind}{status}: {' / '.join(part for part in parts if part)}".removesuffix(": ")


def _text(value: object) -> str:
    """One printable line: control characters of a hostile CA must not reach a terminal or forge a log line."""
    if not isinstance(value, str):
        return ""
    return "".join(char if char.isprintable() else " " for char in value[:_MAX_DETAIL])
