"""What browsers are told to be careful about: on whose answers, and on whose not."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.cached import NO_CA, for_anybody, get, plain, reload, start_cached, status, tls
from tests.support.daemon import DaemonProcess, eventually
from tests.support.small_server import SmallServer, threaded_server
from tests.support.upstream import Upstream

HOST, OTHER, ADDRESS = "one.example.test", "two.example.test", "127.0.0.1"
PROXY = "127.0.0.3"
YEAR = "max-age=31536000; includeSubDomains"
STRICT = "strict-transport-security"
PROTECTED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "strict-origin-when-cross-origin",
}


@pytest.fixture
def application() -> Iterator[SmallServer]:
    with threaded_server("app") as server:
        yield server


def fields(response: bytes) -> dict[str, str]:
    """Return the fields of the answer; what is there twice fails."""
    _, *lines = response.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        assert name.lower() not in found, response
        found[name.lower()] = value
    return found


def ask(daemon: DaemonProcess, *lines: str, host: str = HOST, path: str = "/", source: str = "127.0.0.1") -> bytes:
    name = None if host == ADDRESS else host
    return tls(daemon.https_port, name, get(host, *lines, path=path), source=source)


@pytest.mark.parametrize("more", [{}, {"fast_path": False}, {"workers": 1}])
def test_every_answer_over_tls_has_it_once(
    daemon: DaemonProcess, application: SmallServer, more: dict[str, Any]
) -> None:
    application.lines = "Strict-Transport-Security: max-age=1\r\nX-Frame-Options: DENY\r\n"
    options = {
        "upstream": application.port,
        "hsts": True,
        "secure_headers": True,
        "paths": {"/old/": {"redirect": "/new/"}, "/gone/": "http://127.0.0.1:1"},
        "max_body": "1KiB",
    }
    start_cached(daemon, {HOST: options, OTHER: {"upstream": application.port}}, **more)
    found = fields(ask(daemon))
    assert found[STRICT] == YEAR
    assert {name: found[name] for name in PROTECTED} == {**PROTECTED, "x-frame-options": "DENY"}
    large = tls(daemon.https_port, HOST, get(HOST, "Content-Length: 2000").replace(b"GET", b"POST"))
    for answer, expected in ((ask(daemon, path="/old/"), 308), (ask(daemon, path="/gone/"), 503), (large, 413)):
        assert status(answer) in (expected, 502)
        found = fields(answer)
        assert found[STRICT] == YEAR
        assert {name: found[name] for name in PROTECTED} == PROTECTED
    found = fields(ask(daemon, host=OTHER))
    assert found[STRICT] == "max-age=1"
    assert "referrer-policy" not in found


def test_never_without_tls_and_never_for_an_address(daemon: DaemonProcess, upstream: Upstream) -> None:
    options = {"upstream": upstream.port, "hsts": True}
    start_cached(daemon, {HOST: options, ADDRESS: options}, trusted_proxies=[PROXY])
    assert STRICT not in fields(plain(daemon.http_port, get(HOST)))
    assert status(ask(daemon, host=ADDRESS)) == 200
    assert STRICT not in fields(ask(daemon, host=ADDRESS))
    by_proxy = [
        fields(ask(daemon, *lines, source=PROXY)).get(STRICT)
        for lines in ([], ["X-Forwarded-Proto: http"], ["X-Forwarded-Proto: https"])
    ]
    assert by_proxy == [YEAR, None, YEAR]
    told = get(HOST, "X-Forwarded-Proto: https")
    assert fields(plain(daemon.http_port, told, source=PROXY))[STRICT] == YEAR
    assert STRICT not in fields(plain(daemon.http_port, get(HOST, "X-Forwarded-Proto: http"), source=PROXY))
    assert fields(ask(daemon, "X-Forwarded-Proto: http"))[STRICT] == YEAR  # nobody's word


def test_each_request_of_a_proxy_is_answered_by_how_its_client_came(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {HOST: {"upstream": upstream.port, "hsts": True}}, trusted_proxies=[PROXY])
    protos = ("https", "http", "http", "https")
    asked = b"".join(get(HOST, f"X-Forwarded-Proto: {one}") for one in protos)
    received = tls(daemon.https_port, HOST, asked.replace(b"Connection: close\r\n", b"", 3), source=PROXY)
    answers = received.split(b"HTTP/1.1 200 OK")[1:]
    assert [b"Strict-Transport-Security" in one for one in answers] == [True, False, False, True]


def test_what_the_user_sets_comes_last(daemon: DaemonProcess, upstream: Upstream) -> None:
    change = {"response": {"set": {"Strict-Transport-Security": "max-age=7"}, "remove": ["Referrer-Policy"]}}
    hosts = {HOST: {"upstream": upstream.port, "hsts": True, "secure_headers": True, "headers": change}}
    start_cached(daemon, hosts)
    found = fields(ask(daemon))
    assert (found[STRICT], found.get("referrer-policy")) == ("max-age=7", None)


def test_a_tunnel_is_left_alone(daemon: DaemonProcess, application: SmallServer) -> None:
    application.status = 101
    application.lines = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    start_cached(daemon, {HOST: {"upstream": application.port, "hsts": True, "secure_headers": True}})
    asked = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode()
    application.name = ""
    with (
        socket.create_connection(("127.0.0.1", daemon.https_port), 10) as raw,
        for_anybody().wrap_socket(raw, server_hostname=HOST) as connection,
    ):
        connection.sendall(asked)
        head = connection.recv(65536)
    assert status(head) == 101
    assert STRICT not in fields(head)
    assert "referrer-policy" not in fields(head)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_ramp_goes_by_what_is_known_of_renewals(daemon: DaemonProcess, upstream: Upstream, workers: int) -> None:
    hosts = {HOST: {"upstream": upstream.port, "hsts": "ramp"}}
    start_cached(daemon, hosts, workers=workers)
    assert [STRICT in fields(ask(daemon)) for _ in range(5)] == [False] * 5
    daemon.stop()
    at = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    document = f'{{"renewals": 2, "at": "{at}", "names": ["{HOST}"]}}'
    daemon.journal("insert into state (name, document) values (?, ?)", f"renewed {HOST} p256", document)
    daemon.start()
    eventually(lambda: fields(ask(daemon)).get(STRICT) == "max-age=5184000", what=daemon.log)
    assert {fields(ask(daemon)).get(STRICT) for _ in range(20)} == {"max-age=5184000"}


def test_it_may_be_switched_on_and_off(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {HOST: {"upstream": upstream.port}})
    assert STRICT not in fields(ask(daemon))
    for hsts, expected in ((True, YEAR), ({"max_age": 0, "include_subdomains": False}, "max-age=0"), (None, None)):
        daemon.configure({HOST: {"upstream": upstream.port, "hsts": hsts}}, acme=NO_CA)
        reload(daemon)
        assert fields(ask(daemon)).get(STRICT) == expected
