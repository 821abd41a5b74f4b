"""What all pages for people have in common: the document around their text, its script, what a browser may do with it.

Everything is in the one answer: a page asks for nothing but itself, again.
"""

import base64
import hashlib
import re
from datetime import datetime
from html import escape
from string import Template
from typing import Final

from proxyd.admin.page_style import STYLE
from proxyd.core.moment import distance

#: Parts with `data-live` are replaced by what the same address says now; who selects text or looks away is left alone.
_SCRIPT = """
(() => {
  "use strict";
  const note = document.getElementById("unreachable");
  let last = new Date();
  const show = (fresh) => {
    document.title = fresh.title;
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (!other || other.innerHTML === part.innerHTML) continue;
      const held = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
      part.replaceChildren(...other.childNodes);
      if (held) part.querySelector(`a[href="${CSS.escape(held)}"]`)?.focus({preventScroll: true});
    }
  };
  const refresh = async () => {
    if (document.hidden || !getSelection().isCollapsed) return;
    try {
      const answer = await fetch(location.href, {signal: AbortSignal.timeout(25000)});
      if (!answer.ok) throw new Error(answer.status);
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      note.textContent = "";
      last = new Date();
    } catch {
      if (!note.textContent) note.textContent =
        `proxyd does not answer. This is what it said at ${last.toISOString().slice(11, 19)} UTC.`;
    }
  };
  const again = () => setTimeout(() => refresh().finally(again), 10000);
  again();
  document.addEventListener("visibilitychange", refresh);
})();
"""
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Ccircle cx='8' cy='8' r='6' fill='%23$colour'/%3E%3C/svg%3E"
)
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$title</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="$icon">
<style>$style</style>
</head>
<body>
<header>
<div class="top small"><span class="mark"><a href="/status">proxyd</a></span>
<span class="soft" id="moment" data-live>$moment</span></div>
<div id="head" data-live>$head</div>
<p id="unreachable" role="status"></p>
</header>
<main>
$main
</main>
<footer class="small">
<p>proxyd $version. Times are UTC. For machines: <a href="/metrics">metrics</a>, <a href="/status.json">status.json</a>.
This page changes nothing: <code>proxyd renew</code> and the other commands do.</p>
</footer>
<script>$script</script>
</body>
</html>
""")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


#: For Content-Security-Policy: this style sheet, this script, and the page itself to be asked for again.
POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        f"style-src {_hash(STYLE)}",
        f"script-src {_hash(_SCRIPT)}",
        "img-src data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


def page(title: str, *, head: str, main: str, version: str, now: datetime, is_well: bool) -> str:
    """Return a whole page; `head` and `main` are HTML, `title` is text."""
    return _PAGE.substitute(
        title=escape(title),
        icon=Template(_ICON).substitute(colour="2c8a5f" if is_well else "c8372b"),
        style=STYLE,
        script=_SCRIPT,
        moment=f'as of <time datetime="{now:%Y-%m-%dT%H:%M:%SZ}">{now:%Y-%m-%d %H:%M:%S}</time> UTC',
        head=head,
        main=main,
        version=escape(version),
    )


def part(name: str, title: str, body: str) -> str:
    """Return a section with its heading; what it says is kept up to date."""
    return (
        f'<section aria-labelledby="{name}-title"><h2 id="{name}-title">{escape(title)}</h2>'
        f'<div id="{name}" data-live>{body}</div></section>'
    )


def prose(text: str) -> str:
    """Return a line for people as HTML; what is between backticks is to be typed."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def moment(at: datetime, now: datetime) -> str:
    """Return a time with how far away it is."""
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M}</time> ({distance(at - now)})'


def away(at: datetime, now: datetime) -> str:
    """Return how far away a time is."""
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}" title="{at:%Y-%m-%d %H:%M} UTC">{distance(at - now)}</time>'


def amount(count: float, unit: str, units: str) -> str:
    """Return "1 host", "10,000 hosts"."""
    return f"{count:,.0f} {unit if count == 1 else units}"
