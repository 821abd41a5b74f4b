"""From what is known to the page of all hosts."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxyd.admin.host_filter import HostFilter
from proxyd.admin.page_style import STYLE
from proxyd.admin.status_page import Overview, host_path, status_page
from proxyd.core.counters import Counters, UpstreamState, summed
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.core.on_demand_view import OnDemandView
from proxyd.core.status import HostStatus
from tests.support.html_reader import HtmlReader

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTILE = "</p><script>alert('1')</script><b title=\"x\" onload='y'>&amp;"


def row(name: str, **more: Any) -> HostStatus:
    known: dict[str, Any] = {
        "state": "ready",
        "issuer": "letsencrypt",
        "not_before": NOW - 30 * DAY,
        "not_after": NOW + 60 * DAY,
        "renew_at": NOW + 30 * DAY,
    }
    return HostStatus(host=Hostname(name), **(known | more))


BAD = row(
    "bad.example.com",
    state="blocked",
    not_before=None,
    not_after=None,
    renew_at=None,
    failures=3,
    last_error="the CA says no: set `acme.eab`",
    next_try=NOW + timedelta(hours=5),
    needs_a_person=True,
)
BUDGET: Mapping[str, Mapping[str, Any]] = {
    "letsencrypt": {"orders_left": 297, "orders_limit": 300, "waiting": {"late.example.com": "2027-01-01T14:00:00Z"}},
    "mine": {"orders_left": None, "orders_limit": None, "waiting": {}},
}


def overview(*rows: HostStatus, **more: Any) -> Overview:
    counters = Counters()
    counters.accepted["https"] += 2
    counters.begun += 1
    counters.ended(counters.host("a.example.com"), 200, 0.02, 3 << 20)
    counters.upstream("http://10.0.0.1:80")["connect"] += 2
    counters.answers("http://10.0.0.2:80")[:] = [4, 0.5]
    states = {"http://10.0.0.1:80": UpstreamState(0, is_out=True), "http://10.0.0.2:80": UpstreamState(3, is_out=False)}
    event = JournalEvent(
        at=NOW - timedelta(minutes=3), host=Hostname("bad.example.com"), kind="kept", issuer=None, fields={}
    )
    known: dict[str, Any] = {
        "version": "1.2",
        "now": NOW,
        "rows": rows,
        "wildcards": {},
        "budget": BUDGET,
        "troubles": (),
        "counted": summed([counters.document(states)]),
        "upstreams": [*states],
        "events": [event],
    }
    return Overview(**(known | more))


def read(seen: Overview, **query: str) -> HtmlReader:
    return HtmlReader(status_page(seen, HostFilter.read(query)))


def test_who_is_in_trouble_comes_first_and_says_why() -> None:
    page = read(overview(row("a.example.com"), BAD, row("c.example.com")))
    assert "1 of 3 hosts needs you" in page.text
    assert page.text.index("bad.example.com") < page.text.index("a.example.com")
    for told in ("the CA says no: set acme.eab", "the last 3 orders gave none", "next try in 5 h", "blocked"):
        assert told in page.text
    assert "1 need you · proxyd" in page.texts[0:12]


def test_when_all_is_well_the_page_says_so() -> None:
    assert "All 2 hosts are well" in read(overview(row("a.example.com"), row("b.example.com"))).text
    assert "The one host is well" in read(overview(row("a.example.com"))).text
    assert "No hosts yet" in read(overview()).text


def test_the_life_of_a_certificate_is_a_bar_with_its_renewal() -> None:
    page = read(overview(row("a.example.com")))
    assert "renews in 30 d" in page.text
    assert "expires in 60 d" in page.text
    bars = {one["class"]: one for one in page.all("rect")}
    assert bars["gone good"]["width"] == "333"
    assert bars["point"]["x"] == "667"


def test_budget_upstreams_traffic_and_events() -> None:
    page = read(overview(row("a.example.com")))
    for told in (
        "297 of 300 orders left",
        "waiting for a limit: late.example.com in 2 h",
        "its limits are not known",
        "http://10.0.0.1:80 left out , failures: connect 2",
        "http://10.0.0.2:80 healthy , 3 under way 125 ms",
        "Requests answered 1",
        "0 B, 3.0 MiB",
        "3 min ago bad.example.com : the certificate is kept on disk now",
    ):
        assert told in page.text, page.text


def test_trouble_of_the_machine_is_above_all() -> None:
    page = read(overview(row("a.example.com"), troubles=["the clock is wrong"]))
    assert page.text.index("The clock is wrong.") < page.text.index("The one host is well")


def test_ten_thousand_hosts_are_shown_in_pieces() -> None:
    rows = [row(f"h{number:05}.example.com") for number in range(10_000)]
    first = status_page(overview(*rows), HostFilter.read({}))
    assert len(first) < 120_000
    assert "Page 1 of 200" in HtmlReader(first).text
    last = read(overview(*rows), page="200")
    assert "h09999.example.com" in last.text
    assert "h00001.example.com" not in last.text
    assert "Page 200 of 200" in read(overview(*rows), page="9999").text
    found = read(overview(*rows), q="H00777")
    assert "h00777.example.com" in found.text
    assert "Page" not in found.text
    assert "No host is like that" in read(overview(*rows), q="nobody").text


def test_links_keep_what_was_asked_for() -> None:
    rows = [row(f"{number}.example.com") for number in range(120)]
    links = [one["href"] for one in read(overview(*rows), q="example", state="ready", page="2").all("a")]
    assert "/status?q=example&state=ready&page=3" in links
    assert "/status?q=example&state=ready" in links
    assert "/status?q=example" in links


def test_wildcard_hosts_are_shown() -> None:
    view = OnDemandView(
        pattern=HostPattern.parse("*.apps.example.com"),
        issuers=("letsencrypt",),
        challenges=(),
        ask=None,
        max_new_per_day=10,
        new_today=10,
        free_at=NOW + timedelta(hours=3),
        public=True,
        names=(),
    )
    page = read(overview(wildcards={view.pattern: view}))
    assert "10 of 10 new names in 24 h used" in page.text
    assert "The next new name may come" in page.text
    assert {"href": "/status/%2A.apps.example.com"} in page.all("a")


@pytest.mark.parametrize(
    "query", [{}, {"q": HOSTILE, "state": HOSTILE, "page": HOSTILE}, {"q": HOSTILE, "state": "ready"}]
)
def test_whatever_others_say_is_only_text(query: dict[str, str]) -> None:
    """Names, words of CAs, of clients and of upstreams."""
    hostile = replace(BAD, last_error=HOSTILE, issuer=HOSTILE, alarms=(HOSTILE,), state="missing")
    fields = {"reason": HOSTILE, "kind": HOSTILE, "client": HOSTILE, "agent": HOSTILE, "by": HOSTILE}
    kinds = ("order failed", "challenge request", HOSTILE)
    events = [JournalEvent(at=NOW, host=None, kind=kind, issuer=HOSTILE, fields=fields) for kind in kinds]
    waiting = {"orders_left": 1, "orders_limit": 2, "waiting": {HOSTILE: None}}
    seen = overview(hostile, events=events, troubles=[HOSTILE], upstreams=[HOSTILE], budget={HOSTILE: waiting})
    plain, page = read(overview(row("a.example.com"))), read(seen, **query)
    assert len(page.all("script")) == 1
    assert not page.all("b")
    known = {name for _, attributes in plain.elements for name in attributes} | {"value", "rel"}
    assert {name for _, attributes in page.elements for name in attributes} <= known
    assert "alert('1')" in page.text


def test_a_page_asks_for_nothing_and_styles_itself() -> None:
    page = read(overview(row("a.example.com"), BAD))
    assert not [one for one in page.all("link") if not one["href"].startswith("data:")]
    assert not [attributes for _, attributes in page.elements if "style" in attributes or "src" in attributes]
    assert all(one["href"].startswith("/") for one in page.all("a"))
    used = {name for _, attributes in page.elements for name in attributes.get("class", "").split()}
    known = set(re.findall(r"\.([a-z]+)", STYLE))
    assert used <= known, used - known


def test_addresses_of_hosts() -> None:
    assert host_path("2001:db8::1") == "/status/2001%3Adb8%3A%3A1"
