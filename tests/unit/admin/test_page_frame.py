"""The document around the text of every page."""

import base64
import hashlib
import re
from datetime import UTC, datetime

import pytest

from proxyd.admin.page_frame import POLICY, amount, page, part, prose
from tests.support.html_reader import HtmlReader

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)


def text(title: str = "a page") -> str:
    return page(title, head="<h1>Head</h1>", main=part("x", "Part", "<p>$x</p>"), version="1", now=NOW, is_well=True)


@pytest.mark.parametrize("element", ["style", "script"])
def test_a_browser_may_use_what_is_in_the_page_and_no_more(element: str) -> None:
    (inside,) = re.findall(f"<{element}>(.*?)</{element}>", text(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    assert f"{element}-src 'sha256-{digest}'" in POLICY


def test_what_people_and_their_aids_need_is_there() -> None:
    seen = HtmlReader(text())
    assert seen.all("html") == [{"lang": "en"}]
    for landmark in ("header", "main", "footer", "title", "h1"):
        assert len(seen.all(landmark)) == 1, landmark
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in seen.all("meta")
    assert {"name": "color-scheme", "content": "light dark"} in seen.all("meta")
    assert "as of 2027-01-01 12:00:00 UTC" in seen.text


def test_a_title_is_text() -> None:
    assert "<title>&lt;/title&gt;$x</title>" in text("</title>$x")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("run `proxyd renew <x>`", "run <code>proxyd renew &lt;x&gt;</code>"),
        ("a ` alone", "a ` alone"),
        ("`<b>`'\"&", "<code>&lt;b&gt;</code>&#x27;&quot;&amp;"),
    ],
)
def test_what_is_to_be_typed_is_marked(line: str, shown: str) -> None:
    assert prose(line) == shown


def test_amounts() -> None:
    assert [amount(count, "host", "hosts") for count in (0, 1, 10_000)] == ["0 hosts", "1 host", "10,000 hosts"]
