"""Problem documents of an ACME CA (RFC 7807, RFC 8555 §6.7), kept whole but for tokens."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_PREFIX = "urn:ietf:params:acme:error:"
_MAX_DETAIL = 2000
_MAX_TEXT = 2500  # of all parts together
_RETRY_AFTER = re.compile(r"retry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.\d+)?(?: ?(?:UTC|Z))", re.IGNORECASE)
_LIMITS = (
    ("new orders", "orders"),
    ("failed authorizations", "failures"),
    ("exact set", "duplicates"),
    ("already issued for", "domain"),
)
_LIMITED = re.compile(r'\bfor "([^"\s]{1,260})"')
_PAGE = re.compile(r"https://[!-~]{1,500}")
_UNPAUSE = re.compile(r"https://\S*unpause\S*[^\s.,)]")
#: A CA names the URL that it asked, with the token in it, or what it found there: a token and the thumbprint of our key
#: (RFC 8555 §8.1). A JWT, as in links for a person, has three parts.
_TOKEN = re.compile(r"(?<=acme-challenge/)[\w-]{16,}|(?<![\w.-])[\w-]{22,}\.[\w-]{43}(?!\.?[\w-])")
_NO_CONNECTION = re.compile(r"Failed to connect|connection refused|Timeout during connect", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the CA said. `kind` is the type without the ACME prefix; all text is hostile until shown escaped.

    `page`: where a person does what the CA wants (`instance` of userActionRequired, RFC 8555 §6.7; else its terms).
    """

    kind: str
    detail: str
    status: int
    retry_after: timedelta | None = None
    subproblems: tuple["Problem", ...] = ()
    identifier: str | None = None
    page: str | None = None

    @classmethod
    def parse(
        cls, document: object, *, status: int, retry_after: timedelta | None = None, terms: str | None = None
    ) -> "Problem":
        """Return the problem in a decoded JSON body; anything that is none becomes a problem of kind "none".

        `terms`: the URL that came with the answer as "terms-of-service".
        """
        fields = document if isinstance(document, Mapping) else {}
        nested = fields.get("subproblems")
        declared = fields.get("status")
        identifier = fields.get("identifier")
        return cls(
            kind=_text(fields.get("type")).removeprefix(_PREFIX)[:100] or "none",
            detail=_TOKEN.sub("…", _text(fields.get("detail"))),
            status=status or (declared if isinstance(declared, int) and 0 <= declared < 1000 else 0),
            retry_after=retry_after,
            subproblems=tuple(_flat(one) for one in (nested if isinstance(nested, list) else [])[:100]),
            identifier=_text(identifier.get("value")) or None if isinstance(identifier, Mapping) else None,
            page=_page(fields.get("instance")) or _page(terms),
        )

    @property
    def retry_at(self) -> datetime | None:
        """Return the latest time in texts like Let's Encrypt's "retry after 2026-08-05 12:00:00 UTC"."""
        moments = []
        for found in _RETRY_AFTER.finditer(self._details):
            with contextlib.suppress(ValueError):
                moments.append(datetime.fromisoformat(f"{found[1]}T{found[2]}").replace(tzinfo=UTC))
        return max(moments, default=None)

    @property
    def is_rate_limit(self) -> bool:
        """Whether the CA says: not now."""
        return self.status == 429 or any(one.kind == "rateLimited" for one in (self, *self.subproblems))

    @property
    def limit(self) -> str | None:
        """Return which limit it is, by the name that core/rate_ledger.py gives it (Let's Encrypt's words), or None."""
        if not self.is_rate_limit:
            return None
        return next((limit for words, limit in _LIMITS if words in self._details), None)

    @property
    def limited(self) -> tuple[str, ...]:
        """Return the names and domains that the limit is said to be of; empty when the text names none."""
        return tuple(name.lower() for name in _LIMITED.findall(self._details)) if self.limit else ()

    @property
    def is_pause(self) -> bool:
        """Whether Let's Encrypt paused the name after too many failures: only a person can unpause it."""
        return self.is_rate_limit and (self.unpause_url is not None or "paused" in self._details)

    @property
    def unpause_url(self) -> str | None:
        """Return the page on which a person unpauses the name."""
        found = _UNPAUSE.search(self._details)
        return found[0] if found else None

    @property
    def reason(self) -> str:
        """Return the kind; "connection" also for a CA that calls a refused connection "unauthorized" (Pebble does)."""
        return "connection" if self.kind == "unauthorized" and tells_no_connection(self._details) else self.kind

    @property
    def _details(self) -> str:
        return " ".join((self.detail, *(one.detail for one in self.subproblems[:10])))

    @property
    def title(self) -> str:
        """Return the kind, without what the CA said of one host."""
        kind = "no problem document" if self.kind == "none" else self.kind
        return f"{kind} (HTTP {self.status})" if self.status else kind

    def __str__(self) -> str:
        """Return kind and details on one line, the subproblems' after them."""
        parts = [self.detail, *(str(one) for one in self.subproblems)]
        text = f"{self.title}: {' / '.join(part for part in parts if part)}".removesuffix(": ")
        return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def tells_no_connection(text: str) -> bool:
    """Whether a CA's words say that nothing answered, whatever kind of problem it calls that."""
    return _NO_CONNECTION.search(text) is not None


def _flat(document: object) -> Problem:
    """RFC 8555 §6.7.1 has no deeper level; a hostile CA could nest without end."""
    return Problem.parse({**document, "subproblems": None} if isinstance(document, Mapping) else None, status=0)


def _page(value: object) -> str | None:
    """Return what a person may open, or None."""
    return value if isinstance(value, str) and _PAGE.fullmatch(value) else None


def _text(value: object) -> str:
    """One printable line: control characters of a hostile CA must not reach a terminal or forge a log line."""
    if not isinstance(value, str):
        return ""
    return "".join(char if char.isprintable() else " " for char in value[:_MAX_DETAIL])
