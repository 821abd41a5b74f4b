"""What a host's options say before, and instead of, an upstream: the daemon and raw sockets."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cached import NO_CA, get, plain, reload, seen, start_cached, status, tls
from tests.support.daemon import DaemonProcess, eventually
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"


def ask(daemon: DaemonProcess, *lines: str, path: str = "/", host: str = HOST, source: str = "127.0.0.1") -> bytes:
    return tls(daemon.https_port, host, get(host, *lines, path=path), source=source)


def target(response: bytes) -> str:
    found: str = json.loads(response.partition(b"\r\n\r\n")[2])["target"]
    return found


def location(response: bytes) -> bytes:
    head = response.partition(b"\r\n\r\n")[0]
    return next(line.removeprefix(b"Location: ") for line in head.split(b"\r\n") if line.startswith(b"Location: "))


def test_a_load_balancer_sees_on_both_ports_that_we_are_ready(daemon: DaemonProcess, upstream: Upstream) -> None:
    hosts = {HOST: {"upstream": upstream.port, "maintenance": True}}
    start_cached(daemon, hosts, ready_path="/ready")
    for host in (HOST, "10.0.0.1", "other.example"):
        for response in (
            plain(daemon.http_port, get(host, path="/ready?x")),
            tls(daemon.https_port, HOST, get(host, path="/ready")),
        ):
            assert response.startswith(b"HTTP/1.1 200 OK\r\n")
            assert response.endswith(b"\r\n\r\nready\n")
    for looked in (
        plain(daemon.http_port, get(HOST, path="/ready").replace(b"GET", b"HEAD")),
        tls(daemon.https_port, HOST, get(HOST, path="/ready").replace(b"GET", b"HEAD")),
    ):
        assert looked.startswith(b"HTTP/1.1 200 OK\r\n")
        assert looked.endswith(b"\r\n\r\n")
    assert status(ask(daemon, path="/ready/x")) == 503
    assert status(plain(daemon.http_port, get(HOST, path="/readyx"))) == 308
    assert status(plain(daemon.http_port, get("other.example", path="/"))) == 421
    assert status(plain(daemon.http_port, b"GET /ready HTTP/1.1\r\nHost: a b\r\n\r\n")) == 400
    posted = tls(daemon.https_port, HOST, get("other.example", path="/ready").replace(b"GET", b"POST"))
    assert status(posted) == 421


@pytest.mark.parametrize(
    ("options", "source", "lines", "answer"),
    [
        ({"allow": ["127.0.0.1"]}, "127.0.0.1", (), 200),
        ({"allow": ["127.0.0.1"]}, "127.0.0.2", (), 403),
        ({"deny": ["127.0.0.2/32"]}, "127.0.0.2", (), 403),
        ({"deny": ["127.0.0.2"]}, "127.0.0.1", (), 200),
        ({"allow": ["private"], "deny": ["127.0.0.2"]}, "127.0.0.2", (), 403),
        ({"allow": ["192.0.2.0/24"]}, "127.0.0.3", ("X-Forwarded-For: 192.0.2.7",), 200),  # 127.0.0.3 is trusted
        ({"allow": ["192.0.2.0/24"]}, "127.0.0.2", ("X-Forwarded-For: 192.0.2.7",), 403),
        ({"deny": ["192.0.2.0/24"]}, "127.0.0.3", ("X-Forwarded-For: ::ffff:192.0.2.7",), 403),
    ],
)
def test_who_is_allowed(
    daemon: DaemonProcess, upstream: Upstream, options: dict[str, Any], source: str, lines: tuple[str, ...], answer: int
) -> None:
    start_cached(daemon, {HOST: {"upstream": upstream.port, **options}}, trusted_proxies=["127.0.0.3"])
    assert status(ask(daemon, *lines, source=source)) == answer


def test_each_request_of_a_proxy_is_allowed_or_not_by_itself(daemon: DaemonProcess, upstream: Upstream) -> None:
    hosts = {HOST: {"upstream": upstream.port, "deny": ["192.0.2.7"]}}
    start_cached(daemon, hosts, trusted_proxies=["127.0.0.3"])
    clients = ("192.0.2.1", "192.0.2.7", "192.0.2.7", "192.0.2.2")
    asked = b"".join(get(HOST, f"X-Forwarded-For: {one}") for one in clients)
    asked = asked.replace(b"Connection: close\r\n", b"", 3)
    received = tls(daemon.https_port, HOST, asked, source="127.0.0.3")
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"403", b"403", b"200"]


def test_redirects(daemon: DaemonProcess, upstream: Upstream) -> None:
    hosts = {
        HOST: {"redirect": "https://new.example"},
        OTHER: {
            "upstream": upstream.port,
            "redirect": None,
            "paths": {"/old/": {"redirect": "/new/"}, "/gone": {"redirect": {"to": "/", "status": 302}}},
        },
    }
    start_cached(daemon, hosts, trusted_proxies=["127.0.0.3"])
    moved = ask(daemon, path="/a//b?x=%2F")
    assert moved.startswith(b"HTTP/1.1 308 ")
    assert location(moved) == b"https://new.example/a//b?x=%2F"
    assert location(ask(daemon, host=OTHER, path="/old/x?y")) == f"https://{OTHER}/new/x?y".encode()
    claim = "X-Forwarded-Host: shop.example"
    for source, host in (("127.0.0.3", "shop.example"), ("127.0.0.2", OTHER)):
        seen_there = ask(daemon, claim, host=OTHER, path="/old", source=source)
        assert location(seen_there) == f"https://{host}/new/".encode()
    there = ask(daemon, host=OTHER, path="/gone//evil.example")
    assert there.startswith(b"HTTP/1.1 302 ")
    assert location(there) == f"https://{OTHER}//evil.example".encode()
    assert target(ask(daemon, host=OTHER, path="/older")) == "/older"
    assert location(plain(daemon.http_port, get(HOST, path="/a"))).startswith(f"https://{HOST}:".encode())


def test_maintenance_begins_and_ends_with_a_reload(daemon: DaemonProcess, upstream: Upstream) -> None:
    page = daemon.directory / "page.html"
    page.write_text("<h1>Back soon</h1>")
    down: dict[str, Any] = {
        "upstream": upstream.port,
        "maintenance": {"retry_after": "2m", "page": str(page)},
        "paths": {"/x": upstream.port},
    }
    start_cached(daemon, {HOST: down, OTHER: {"upstream": upstream.port, "maintenance": True}})
    for path in ("/", "/x"):
        response = ask(daemon, path=path)
        assert response.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 120\r\n" in response
        assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in response
        assert response.endswith(b"\r\n\r\n<h1>Back soon</h1>")
    other = ask(daemon, host=OTHER)
    assert other.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 60\r\n" in other
    page.unlink()
    reload(daemon)
    assert b"Back soon" in ask(daemon)  # what is missing later stays what it was
    assert "a maintenance page cannot be used" in daemon.log()
    daemon.configure({HOST: upstream.port, OTHER: upstream.port}, acme=NO_CA)
    reload(daemon)
    assert status(ask(daemon)) == status(ask(daemon, host=OTHER)) == 200


def test_a_page_that_never_was_there_stops_nothing(daemon: DaemonProcess, upstream: Upstream) -> None:
    hosts = {
        HOST: {"upstream": upstream.port, "maintenance": {"page": str(Path("/nowhere/page.html"))}},
        OTHER: upstream.port,
    }
    start_cached(daemon, hosts)
    assert status(ask(daemon)) == 503
    assert status(ask(daemon, host=OTHER)) == 200


def test_header_rules_and_host_header(daemon: DaemonProcess, upstream: Upstream) -> None:
    rules = {
        "request": {"set": {"X-User": "bob", "X-Count": 1}, "remove": ["Accept", "cookie"]},
        "response": {"set": {"X-Frame-Options": "DENY", "Content-Type": "text/x"}, "remove": ["Server"]},
    }
    options = {"upstream": upstream.port, "host_header": "upstream", "headers": rules}
    start_cached(daemon, {HOST: options})
    response = ask(daemon, "X_USER: eve", "x-user: eve", "Accept: */*", "Cookie: a=b", "X-Other:  as  it is")
    fields = seen(response)
    assert (fields["x-user"], fields["x-count"], fields["x-other"]) == ("bob", "1", "as  it is")
    assert not {"x_user", "accept", "cookie"} & fields.keys()
    assert (fields["host"], fields["x-forwarded-host"]) == (f"127.0.0.1:{upstream.port}", HOST)
    head = response.partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"content-type:") == 1
    assert b"\r\ncontent-type: text/x" in head
    assert b"\r\nx-frame-options: deny" in head
    assert b"\r\nserver:" not in head


def test_the_longest_path_says_which_upstream(daemon: DaemonProcess, upstream: Upstream) -> None:
    with Upstream() as second, Upstream() as third:
        paths = {
            "/api/": second.port,
            "/api/v2": {"upstream": third.port, "strip": True},
            "/strip/": {"upstream": second.port, "strip": True},
        }
        options = {"upstream": upstream.port, "paths": paths, "host_header": "upstream"}
        start_cached(daemon, {HOST: options})

        def served(path: str) -> tuple[int, str]:
            response = ask(daemon, path=path)
            return int(seen(response)["host"].rpartition(":")[2]), target(response)

        assert served("/") == (upstream.port, "/")
        assert served("/apis?/api/") == (upstream.port, "/apis?/api/")
        assert served("/api") == (second.port, "/api")
        assert served("/api/x?y") == (second.port, "/api/x?y")
        assert served("/api/v2") == (third.port, "/")
        assert served("/api/v2?y") == (third.port, "/?y")
        assert served("/api/v2/x//y") == (third.port, "/x//y")
        assert served("/api/v20") == (second.port, "/api/v20")
        assert served("/strip/%2e%2e/x") == (second.port, "/%2e%2e/x")
        eventually(lambda: "target=/api/v2/x//y" in daemon.log(), what=daemon.log)  # as the client asked


def test_a_body_goes_through_the_rules(daemon: DaemonProcess, upstream: Upstream) -> None:
    options = {
        "upstream": upstream.port,
        "paths": {"/in": {"upstream": upstream.port, "strip": True}},
        "headers": {"request": {"set": {"X-User": "bob"}}},
    }
    start_cached(daemon, {HOST: options})
    head = f"POST /in/x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    response = tls(daemon.https_port, HOST, head + b"5\r\nhello\r\n0\r\n\r\n")
    assert seen(response)["x-user"] == "bob"
    assert json.loads(response.partition(b"\r\n\r\n")[2])["size"] == 5
