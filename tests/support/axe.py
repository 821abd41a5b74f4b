"""axe-core, which looks for what keeps people out of a page: fetched once, by the lock file."""

import subprocess
from pathlib import Path
from typing import Any

from tests.support.browser import Browser

_PLACE = Path(__file__).parents[1] / "browser"
_SCRIPT = _PLACE / "node_modules" / "axe-core" / "axe.min.js"
_BROKEN = "r.violations.map(v => [v.id, v.nodes.map(n => n.html + n.failureSummary)])"
_FOUND = f"axe.run(document).then(r => [r.passes.length, {_BROKEN}])"


def violations(browser: Browser) -> list[Any]:
    """Return what is wrong with the page that a browser shows: each rule, and where it is broken."""
    if not _SCRIPT.exists():
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=_PLACE, check=True, timeout=100, capture_output=True)
    browser.value(_SCRIPT.read_text() + ";0")
    kept, broken = browser.value(_FOUND)
    assert kept > 15, "it did not look"
    found: list[Any] = broken
    return found
