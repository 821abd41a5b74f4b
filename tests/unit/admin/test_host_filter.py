"""What the query of the status page asks for."""

import pytest

from proxyd.admin.host_filter import NEEDS_YOU, HostFilter
from proxyd.core.hostname import Hostname
from proxyd.core.status import HostStatus


def row(name: str, state: str = "ready", *, needs: bool = False, failures: int = 0) -> HostStatus:
    return HostStatus(host=Hostname(name), state=state, issuer=None, needs_a_person=needs, failures=failures)


ROWS = [
    row("d.example.com"),
    row("c.example.com", "waiting", failures=1),
    row("b.example.com", "waiting", needs=True, failures=1),
    row("a.example.com", "ordering"),
    row("e.example.com", "a state of another version"),
]


def names(**query: str) -> str:
    return "".join(one.host.text[0] for one in HostFilter.read(query).chosen(ROWS))


def test_trouble_comes_first() -> None:
    assert names() == "bcade"


def test_what_is_asked_for() -> None:
    assert names(q=" C.Example ") == "c"
    assert names(state="waiting") == "bc"
    assert names(state=NEEDS_YOU) == "b"
    assert names(q="b", state="ready") == ""


@pytest.mark.parametrize("page", ["", "0", "-1", "x", "1e9", "99999999999999", "²"])
def test_a_page_that_makes_no_sense_is_the_first(page: str) -> None:
    assert HostFilter.read({"page": page}).page == 1


def test_a_state_that_makes_no_sense_is_none() -> None:
    assert HostFilter.read({"state": "<b>"}) == HostFilter()


def test_addresses() -> None:
    asked = HostFilter(search="a&b", state="ready", page=3)
    assert asked.address() == "/status?q=a%26b&state=ready"
    assert asked.address(page=4) == "/status?q=a%26b&state=ready&page=4"
    assert HostFilter().address() == "/status"


def test_pages() -> None:
    rows = [row(f"{number:03}.example.com") for number in range(101)]
    last = HostFilter(page=9)
    assert [one.host.text for one in last.on_page(rows)] == ["100.example.com"]
    assert last.pages(101) == (3, 3)
    assert last.pages(0) == (1, 1)
    assert last.on_page([]) == []
