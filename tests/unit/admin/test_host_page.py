"""From what `explain` tells to the page of a host."""

from datetime import UTC, datetime, timedelta
from typing import Any

from proxyd.admin.host_page import host_page, not_found_page, story_of
from proxyd.core.counters import Counters, summed
from proxyd.core.hostname import Hostname
from proxyd.core.status import HostStatus
from tests.support.html_reader import HtmlReader

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"
HOST = "a.example.com"


def read(*, sections: list[dict[str, Any]] | None = None, events: list[dict[str, Any]] | None = None) -> HtmlReader:
    row = HostStatus(
        host=Hostname(HOST),
        state="waiting",
        issuer="letsencrypt",
        not_before=NOW - timedelta(days=80),
        not_after=NOW + timedelta(days=5),
        failures=2,
        next_try=NOW + timedelta(hours=3),
        needs_a_person=True,
    )
    told = {"host": HOST, "status": row.to_document(), "sections": sections or [], "events": events or []}
    counters = Counters()
    counters.host(HOST)[2] += 7
    counted = summed([counters.document({})])
    seen = story_of(told, version="1", now=NOW, counted=counted, upstreams=["http://10.0.0.1"], of_host=HOST)
    return HtmlReader(host_page(seen))


def event(at: str, kind: str, host: str = HOST, **fields: object) -> dict[str, Any]:
    return {"at": at, "host": host, "kind": kind, "issuer": "letsencrypt", "fields": fields}


def test_what_to_do_comes_first() -> None:
    sections = [
        {"title": "Policy", "lines": ["One certificate."]},
        {"title": "What happened", "lines": ["something, shown by itself"]},
        {"title": "Why", "lines": ["DNS."]},
        {"title": "What to do", "lines": ["Run `proxyd renew a.example.com`."]},
    ]
    page = read(sections=sections)
    assert page.text.index("What to do") < page.text.index("Why") < page.text.index("Policy")
    assert "shown by itself" not in page.text
    assert page.all("code")
    assert {"class": "urgent"} in page.all("div")


def test_the_latest_event_is_on_top_under_its_day() -> None:
    events = [
        event("2026-12-30T10:00:00Z", "order failed", reason="no address"),
        event("2026-12-31T11:00:00Z", "kept", "b.example.com"),
        event("2026-12-31T11:00:01Z", "dormant"),
    ]
    text = read(events=events).text
    assert text.index("2026-12-31") < text.index("11:00:01 the name has left us")
    assert text.index("the name has left us") < text.index("11:00:00 b.example.com: the certificate is kept")
    assert text.index("the certificate is kept") < text.index("2026-12-30") < text.index("no address")


def test_certificate_upstreams_and_traffic() -> None:
    page = read()
    for told in ("expires 2027-01-06 12:00 (in 5 d)", "next try 2027-01-01 15:00 (in 3 h)", "http://10.0.0.1", "2xx 7"):
        assert told in page.text
    assert "gone bad" in {one["class"] for one in page.all("rect")}


def test_whatever_others_say_is_only_text() -> None:
    page = read(
        sections=[{"title": HOSTILE, "lines": [HOSTILE, f"`{HOSTILE}`"]}],
        events=[event("2026-12-31T11:00:00Z", HOSTILE), event("2026-12-31T11:00:00Z", "order failed", reason=HOSTILE)],
    )
    assert len(page.all("script")) == 1
    assert "alert(1)" in page.text
    missing = HtmlReader(not_found_page(HOSTILE, HOSTILE, version="1", now=NOW))
    assert len(missing.all("script")) == 1
