"""The status page of the real daemon."""

import http.client
import time
from collections.abc import Callable

from pebble.server import free_port
from tests.support.cached import get, keep_certificates, start_cached, status, tls
from tests.support.daemon import DaemonProcess, eventually
from tests.support.html_reader import HtmlReader
from tests.support.scrape import fetch
from tests.support.upstream import Upstream

HOST, BARE, DEAD = "one.example.test", "bare.example.test", "dead.example.test"


def page(port: int, path: str = "/status") -> HtmlReader:
    code, text = fetch(port, path)
    assert code == 200, text
    return HtmlReader(text)


def test_hosts_with_their_trouble_upstreams_and_traffic(daemon: DaemonProcess, upstream: Upstream) -> None:
    port = free_port()
    keep_certificates(daemon, HOST, DEAD)
    hosts = {HOST: upstream.port, DEAD: 1, BARE: upstream.port, "*.wild.example.test": {"upstream": 1}}
    hosts["*.wild.example.test"]["acme"] = {"on_demand": {"max_new_per_day": 7}}  # type: ignore[index]
    acme = {"server": "https://127.0.0.1:1/dir"}
    daemon.configure({**hosts}, acme=acme, admin={"listen": f"127.0.0.1:{port}"}, workers=2)
    daemon.start()
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    assert status(tls(daemon.https_port, DEAD, get(DEAD))) == 502
    eventually(lambda: "Connection refused" in page(port).text or "cannot" in page(port).text, what=daemon.log)
    seen = page(port).text
    for told in (
        HOST,
        DEAD,
        BARE,
        "*.wild.example.test",
        "of 7 new names",
        "Requests answered 2",
        "failures: connect 1",
    ):
        assert told in seen, seen
    assert seen.index(BARE) < seen.index(HOST), "who has no certificate comes first"
    own = page(port, f"/status/{BARE}").text
    for told in ("What to do", "Why", "What happened", f"http://127.0.0.1:{upstream.port}"):
        assert told in own, own
    assert "5xx 1" in page(port, f"/status/{DEAD}").text
    assert "new names" in page(port, "/status/%2A.wild.example.test").text
    assert HOST not in page(port, "/status?q=bare").text.partition("Lately")[0]
    code, text = fetch(port, "/status/nobody.example.com")
    assert (code, "Not in the running configuration" in text) == (404, True)
    assert fetch(port, "/status/%00%22%3Cb%3E")[0] == 404
    assert fetch(port, "/status", host="rebound.example.com")[0] == 421
    assert fetch(port, "/")[0] == 302


def test_a_browser_is_told_what_the_page_may_do(daemon: DaemonProcess, upstream: Upstream) -> None:
    port = free_port()
    start_cached(daemon, {HOST: upstream.port}, admin={"listen": f"127.0.0.1:{port}"})
    for path in ("/status", f"/status/{HOST}", "/status/nobody.example.com"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        fields = dict(connection.getresponse().getheaders())
        connection.close()
        policy = fields["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert fields["X-Content-Type-Options"] == "nosniff"


def test_pages_do_not_stop_who_serves(make_daemon: Callable[[], DaemonProcess], upstream: Upstream) -> None:
    """Of ten thousand hosts, again and again, in the one process that does everything."""
    daemon, port = make_daemon(), free_port()
    keep_certificates(daemon, HOST)
    listed = {HOST: upstream.port, **{f"h{number:05}.example.test": upstream.port for number in range(10_000)}}
    acme = {"server": "https://127.0.0.1:1/dir"}
    daemon.configure({**listed}, acme=acme, admin={"listen": f"127.0.0.1:{port}"}, workers=1, log={"level": "warning"})
    daemon.start(wait=False)
    eventually(lambda: fetch_or_none(port, "/readyz") == 200, what=daemon.log, seconds=60)
    began = time.monotonic()
    for _ in range(3):
        assert "Page 1 of 201" in page(port).text
    took = (time.monotonic() - began) / 3
    assert took < 5, f"{took:.1f} s a page"
    assert "h07777" in page(port, "/status?q=07777").text
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200


def fetch_or_none(port: int, path: str) -> int | None:
    try:
        return fetch(port, path)[0]
    except OSError:
        return None
