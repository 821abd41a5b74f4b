"""The status page in a real browser: both themes, a phone, without scripts, for people who do not see it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pebble.server import free_port
from tests.support.axe import violations
from tests.support.browser import Browser
from tests.support.cached import get, keep_certificates, status, tls
from tests.support.daemon import DaemonProcess, eventually
from tests.support.scrape import fetch
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers
HOST, BARE, DEAD = "one.example.test", "bare.example.test", "dead.example.test"
PATHS = (
    "/status",
    f"/status/{BARE}",
    f"/status/{HOST}",
    "/status/*.wild.example.test",
    "/status?q=one",
    "/status?q=nobody",
)


@pytest.fixture
def base(daemon: DaemonProcess, upstream: Upstream) -> str:
    """Where the pages of a daemon with trouble of every kind are."""
    port = free_port()
    keep_certificates(daemon, HOST, DEAD, *(f"h{number}.example.test" for number in range(60)))
    hosts = {HOST: upstream.port, DEAD: [1, 2], BARE: upstream.port}
    wild = {"upstream": upstream.port, "acme": {"on_demand": {"max_new_per_day": 7}}}
    many = {f"h{number}.example.test": upstream.port for number in range(60)}
    acme = {"server": "https://127.0.0.1:1/dir"}
    listed = {**hosts, **many, "*.wild.example.test": wild}
    daemon.configure(listed, acme=acme, admin={"listen": f"127.0.0.1:{port}"}, workers=1)
    daemon.start()
    for _ in range(4):
        assert status(tls(daemon.https_port, DEAD, get(DEAD))) in (502, 503)
    eventually(lambda: "needs you" in fetch(port, "/status")[1], what=daemon.log)
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path) as one:
        yield one


def test_nobody_is_kept_out(base: str, browser: Browser) -> None:
    for theme in ("light", "dark"):
        for width in (1280, 390):
            browser.look(width=width, theme=theme)
            for path in PATHS:
                browser.open(base + path)
                assert violations(browser) == [], (theme, width, path)
    assert browser.complaints == []
    assert {one for one in browser.asked_for() if not one.startswith((f"{base}/status", "data:", "about:"))} == set()


def test_a_phone_shows_all_of_it(base: str, browser: Browser) -> None:
    for width in (390, 320):
        browser.look(width=width, height=844)
        for path in PATHS:
            browser.open(base + path)
            assert browser.value("document.documentElement.scrollWidth") <= width, (width, path)


def test_the_theme_is_the_readers(base: str, browser: Browser) -> None:
    shades = []
    for theme in ("light", "dark"):
        browser.look(theme=theme)
        browser.open(f"{base}/status")
        shades.append(browser.value("getComputedStyle(document.body).backgroundColor"))
    assert shades == ["rgb(251, 250, 248)", "rgb(19, 20, 22)"]


def test_without_scripts_all_is_there(base: str, browser: Browser) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.look(width=390)
    for path, told in (("/status", BARE), ("/status?q=h59", "h59.example.test"), (f"/status/{BARE}", "What to do")):
        browser.open(base + path)
        root = browser.call("DOM.getDocument", depth=0)["root"]["nodeId"]
        assert told in browser.call("DOM.getOuterHTML", nodeId=root)["outerHTML"]
    browser.open(f"{base}/status")
    root = browser.call("DOM.getDocument", depth=0)["root"]["nodeId"]
    field = browser.call("DOM.querySelector", nodeId=root, selector="input[type=search]")["nodeId"]
    browser.call("DOM.focus", nodeId=field)
    browser.call("Input.insertText", text="h42")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    eventually(lambda: f"{base}/status?q=h42" in browser.asked_for())


def test_the_page_keeps_itself_up_to_date(base: str, browser: Browser, daemon: DaemonProcess) -> None:
    browser.look()
    browser.open(f"{base}/status")
    browser.value("document.querySelector('input').value = 'half a na'; window.sameDocument = true; 0")
    browser.value(f"""document.querySelector('a[href="/status/{BARE}"]').focus(); 0""")
    answered = "[...document.querySelectorAll('#traffic dd')][0].textContent"
    before = int(browser.value(answered))
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    browser.value("document.dispatchEvent(new Event('visibilitychange')); 0")  # else within ten seconds
    browser.wait_for(f"{answered} === '{before + 1}'")
    assert browser.value("window.sameDocument && document.querySelector('input').value") == "half a na"
    assert browser.value("document.activeElement.getAttribute('href')") == f"/status/{BARE}"
    assert browser.complaints == []
    assert daemon.stop() == 0
    browser.value("document.dispatchEvent(new Event('visibilitychange')); 0")
    browser.wait_for("document.getElementById('unreachable').textContent.includes('does not answer')")
    assert violations(browser) == []


def test_what_is_slipped_in_does_not_run(base: str, browser: Browser) -> None:
    browser.open(f"{base}/status")
    browser.value(
        "const one = document.createElement('script'); one.textContent = 'window.evil = 1'; document.body.append(one);"
        " document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.evil = 2\">'); 0"
    )
    assert browser.value("window.evil ?? null") is None
    told = "fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'refused')"
    assert browser.value(told) == "refused"
    eventually(lambda: browser.asked_for() and "Content Security Policy" in " ".join(browser.complaints))
