"""Which hosts the status page shows: what somebody searches for, those in one state, one page of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from proxyd.core.status import HostStatus

#: For all hosts that a person has to look at, whatever state they are in.
NEEDS_YOU: Final = "needs you"
_ON_A_PAGE = 50
_LONGEST = 253
_ORDER = ("missing", "blocked", "waiting", "dormant", "ordering", "manual", "ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFilter:
    """Read from the query of the page's address. `search`: a part of the name; `state`: one of them, or NEEDS_YOU."""

    search: str = ""
    state: str = ""
    page: int = 1

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "HostFilter":
        """Return what a query asks for; what makes no sense asks for nothing."""
        page = query.get("page", "")
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1
        state = query.get("state", "")
        return cls(
            search=query.get("q", "").strip().lower()[:_LONGEST],
            state=state if state in (*_ORDER, NEEDS_YOU) else "",
            page=max(1, number),
        )

    def address(self, *, state: str | None = None, page: int = 1) -> str:
        """Return the address of the page that shows this, with another state or the page of that number."""
        asked = {"q": self.search, "state": self.state if state is None else state, "page": page if page > 1 else ""}
        query = urlencode({key: value for key, value in asked.items() if value})
        return f"/status?{query}" if query else "/status"

    def chosen(self, rows: Iterable[HostStatus]) -> list[HostStatus]:
        """Return those that are asked for: who needs a person first, then by state and name."""
        found = [one for one in rows if self.search in one.host.text and self._has_state(one)]
        return sorted(found, key=lambda one: (not one.needs_a_person, not one.failures, _rank(one), one.host))

    def on_page(self, chosen: list[HostStatus]) -> list[HostStatus]:
        """Return those of this page; of one that there is not, those of the last."""
        last = max(1, -(-len(chosen) // _ON_A_PAGE))
        begin = (min(self.page, last) - 1) * _ON_A_PAGE
        return chosen[begin : begin + _ON_A_PAGE]

    def pages(self, count: int) -> tuple[int, int]:
        """Return which page this is, and how many there are."""
        last = max(1, -(-count // _ON_A_PAGE))
        return min(self.page, last), last

    def _has_state(self, row: HostStatus) -> bool:
        return not self.state or (row.needs_a_person if self.state == NEEDS_YOU else row.state == self.state)


def _rank(row: HostStatus) -> int:
    return _ORDER.index(row.state) if row.state in _ORDER else len(_ORDER)
