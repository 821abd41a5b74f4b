"""Another server says who may pass: the daemon, that server, and raw sockets."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.cached import NO_CA, for_anybody, get, reload, seen, start_cached, status, tls
from tests.support.command import command
from tests.support.daemon import DaemonProcess, eventually
from tests.support.private_ca import PrivateCa
from tests.support.raw_upstream import RawUpstream
from tests.support.small_server import SmallServer, threaded_server
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"
PROXY = "127.0.0.3"
FRONTS = pytest.mark.parametrize("more", [{"workers": 1}, {"workers": 1, "fast_path": False}, {"workers": 2}])
COPIED = ["Remote-User", "Remote-Groups"]


@pytest.fixture
def auth() -> Iterator[SmallServer]:
    with threaded_server() as server:
        yield server


def options(upstream: Upstream | RawUpstream, auth: SmallServer, **more: Any) -> dict[str, Any]:
    asked = {"url": f"{auth.url}/check?rule=1", "copy_headers": COPIED}
    return {"upstream": upstream.port, "forward_auth": asked, **more}


def ask(daemon: DaemonProcess, *lines: str, host: str = HOST, path: str = "/", source: str = "127.0.0.1") -> bytes:
    return tls(daemon.https_port, host, get(host, *lines, path=path), source=source)


def fields(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode().split("\r\n")[1:]
    return [(name.lower(), value) for name, value in (line.split(": ", 1) for line in lines)]


@FRONTS
def test_who_passes_and_what_either_server_sees(
    daemon: DaemonProcess, upstream: Upstream, auth: SmallServer, more: dict[str, Any]
) -> None:
    auth.lines = "Remote-User: alice\r\nremote-groups: admins\r\nRemote-Email: a@example\r\n"
    start_cached(daemon, {HOST: options(upstream, auth), OTHER: upstream.port}, trusted_proxies=[PROXY], **more)
    spoofed = (
        *("Remote-User: eve", "Remote_User: eve", "remote.groups: eve", "Remote-Other: kept"),
        *("X-Forwarded-Uri: /public", "X-Forwarded_Method: HEAD", "X-Original-URL: /public", "If-None-Match: *"),
        *("Cookie: session=1", "Accept: text/html", "Authorization: Bearer token"),
    )
    theirs = seen(ask(daemon, *spoofed, path="/a%2Fb//c?x=%20&y"))
    assert (theirs["remote-user"], theirs["remote-groups"], theirs["remote-other"]) == ("alice", "admins", "kept")
    assert not {"remote_user", "remote.groups", "remote-email"} & theirs.keys()
    assert (theirs["cookie"], theirs["if-none-match"]) == ("session=1", "*")
    (head,) = auth.heads
    assert head.startswith(b"GET /check?rule=1 HTTP/1.1\r\n")
    asked = fields(head)
    assert len({name for name, _ in asked}) == len(asked), "each once"
    told = dict(asked)
    assert told["host"] == f"127.0.0.1:{auth.port}"
    assert (told["x-forwarded-method"], told["x-forwarded-uri"]) == ("GET", "/a%2Fb//c?x=%20&y")
    assert (told["x-forwarded-proto"], told["x-forwarded-host"], told["x-forwarded-for"]) == (
        "https",
        HOST,
        "127.0.0.1",
    )
    assert (told["cookie"], told["accept"], told["authorization"]) == ("session=1", "text/html", "Bearer token")
    assert not {"x-original-url", "if-none-match", "x-forwarded_method"} & told.keys()
    assert theirs["x-request-id"] == told["x-request-id"]
    auth.lines = ""
    assert "remote-user" not in seen(ask(daemon, "Remote-User: eve"))
    by_proxy = "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Host: shop.example"
    assert status(ask(daemon, *by_proxy, source=PROXY)) == 200
    told = dict(fields(auth.heads[-1]))
    assert (told["x-forwarded-for"], told["x-forwarded-host"]) == ("192.0.2.7, 127.0.0.3", "shop.example")
    assert len(auth.heads) == 3
    assert status(ask(daemon, host=OTHER)) == 200
    assert len(auth.heads) == 3
    assert "Traceback" not in daemon.log()


@FRONTS
def test_what_the_server_answers_is_what_the_client_gets(
    daemon: DaemonProcess, upstream: Upstream, auth: SmallServer, more: dict[str, Any]
) -> None:
    start_cached(daemon, {HOST: options(upstream, auth)}, **more)
    auth.status, auth.name = 302, "<a>log in</a>"
    auth.lines = (
        "Location: https://auth.example/?rd=x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
        "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        "Content-Type: text/html\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
    )
    sent = ask(daemon)
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 302 Found\r\n")
    assert body == b"<a>log in</a>"
    lines = head.split(b"\r\n")
    assert {b"Location: https://auth.example/?rd=x", b"Set-Cookie: a=1", b"Set-Cookie: b=2"} <= {*lines}
    assert sum(line.lower().startswith(b"date:") for line in lines) == 1
    assert b"Content-Type: text/html" in lines
    assert b"1970" not in head
    assert b"X-Hop" not in head
    looked = tls(daemon.https_port, HOST, get(HOST).replace(b"GET", b"HEAD", 1))
    assert looked.startswith(b"HTTP/1.1 302 ")
    assert looked.endswith(b"\r\n\r\n")
    auth.status, auth.name, auth.lines = 401, "", "WWW-Authenticate: Basic realm=x\r\n"
    sent = ask(daemon)
    assert sent.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"\r\nWWW-Authenticate: Basic realm=x\r\n" in sent
    assert b"\r\nContent-Length: 0\r\n" in sent
    auth.status, auth.lines = 403, ""
    post = get(HOST, f"Content-Length: {len(get(HOST))}").replace(b"GET", b"POST", 1) + get(HOST)
    refused = tls(daemon.https_port, HOST, post)
    assert status(refused) == 403
    assert refused.count(b"HTTP/1.1") == 1, "the body of what was refused is no request"
    assert b"X-Forwarded-Method: POST" in auth.heads[-1]
    assert b"Content-Length" not in auth.heads[-1]
    auth.status = 499
    assert ask(daemon).startswith(b"HTTP/1.1 499 ")
    keep = get(HOST).replace(b"Connection: close\r\n", b"")
    auth.status = 403
    assert tls(daemon.https_port, HOST, keep * 3 + get(HOST)).count(b"HTTP/1.1 403 ") == 4


@pytest.mark.parametrize("more", [{"workers": 1}, {"workers": 1, "fast_path": False}])
def test_bodies_wait_and_then_pass(
    daemon: DaemonProcess, upstream: Upstream, auth: SmallServer, more: dict[str, Any]
) -> None:
    start_cached(daemon, {HOST: options(upstream, auth, max_body=400_000)}, **more)
    body = b"x" * 300_000
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    chunked = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    both = head + body + chunked + b"493e0\r\n" + body + b"\r\n0\r\n\r\n" + get(HOST)
    received = tls(daemon.https_port, HOST, both)
    assert received.count(b"HTTP/1.1 200 ") == 3
    assert received.count(b'"size": 300000') == 2
    assert len(auth.heads) == 3
    too_long = head.replace(b"300000", b"400001")
    assert status(tls(daemon.https_port, HOST, too_long)) == 413
    assert len(auth.heads) == 3, "nobody is asked about what is refused anyway"
    last = chunked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert status(tls(daemon.https_port, HOST, last + b"61a81\r\n" + b"x" * 400_001 + b"\r\n0\r\n\r\n")) == 413


@pytest.mark.parametrize("more", [{"workers": 1}, {"workers": 1, "fast_path": False}])
def test_trailers_cannot_say_what_headers_must_not(
    daemon: DaemonProcess, auth: SmallServer, more: dict[str, Any]
) -> None:
    with RawUpstream() as upstream:
        upstream.script = None
        fields = {"request": {"remove": ["X-Admin"], "set": {"X-Stage": "live"}}}
        start_cached(daemon, {HOST: options(upstream, auth, headers=fields)}, **more)
        auth.lines = "Remote-User: alice\r\n"
        head = (
            f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n"
        )
        trailers = "Remote-User: eve\r\nremote_groups: admins\r\nX.Admin: 1\r\nX-Stage: test\r\nX-Checksum: 1\r\n\r\n"
        with closing(tls_connection(daemon, HOST)) as connection:
            connection.sendall((head + trailers).encode())
            peer = upstream.accept()
            assert b"Remote-User: alice\r\n" in peer.head()
            assert peer.until(b"\r\n\r\n") == b"1\r\nx\r\n0\r\nX-Checksum: 1\r\n\r\n"


def test_no_100_before_it_may_pass(daemon: DaemonProcess, upstream: Upstream, auth: SmallServer) -> None:
    start_cached(daemon, {HOST: options(upstream, auth)}, workers=1)
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    auth.status = 403
    assert tls(daemon.https_port, HOST, head.encode()).startswith(b"HTTP/1.1 403 ")
    auth.status = 200
    with (
        socket.create_connection(("127.0.0.1", daemon.https_port), 10) as raw,
        for_anybody().wrap_socket(raw, server_hostname=HOST) as connection,
    ):
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hello")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_server_that_fails_lets_nobody_through(daemon: DaemonProcess, upstream: Upstream, auth: SmallServer) -> None:
    with RawUpstream() as raw:
        raw.script = None
        hosts = {
            HOST: options(upstream, auth),
            OTHER: {"upstream": upstream.port, "forward_auth": {"url": f"http://127.0.0.1:{raw.port}"}},
        }
        start_cached(daemon, hosts, workers=1)
        for code in (500, 503, 304):
            auth.status = code
            assert status(ask(daemon)) == 502
            daemon.wait_for(f'reason="it answered {code}"')
        auth.status, auth.name = 401, "x" * (1 << 20) + "x"
        assert status(ask(daemon)) == 502
        daemon.wait_for("its answer is longer than 1048576 bytes")
        auth.name = "x" * (1 << 20)
        assert ask(daemon).endswith(b"x" * (1 << 20))
        auth.hangs = True
        began = time.monotonic()
        assert status(ask(daemon)) == 504
        assert 4.5 < time.monotonic() - began < 8
        daemon.wait_for("it gave no answer within 5 s")
        auth.hangs, auth.status, auth.name = False, 200, ""
        auth.cut()
        assert status(ask(daemon)) == 200
        for answer in (
            b"garbage\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            b"",
            b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n",
        ):
            with closing(tls_connection(daemon, OTHER)) as connection:
                connection.sendall(get(OTHER))
                peer = raw.accept()
                peer.head()
                peer.send(answer)
                peer.close()
                assert connection.recv(100).startswith(b"HTTP/1.1 502 "), answer
    assert status(ask(daemon, host=OTHER)) == 502
    assert "forward_auth cannot be asked: the request is refused" in daemon.log()
    assert "is it running?" in daemon.log()
    assert "Traceback" not in daemon.log()


def tls_connection(daemon: DaemonProcess, host: str) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", daemon.https_port), 10)
    return for_anybody().wrap_socket(raw, server_hostname=host)


@pytest.mark.parametrize("more", [{"workers": 1}, {"workers": 1, "fast_path": False}])
def test_a_client_that_leaves_is_asked_about_no_more(
    daemon: DaemonProcess, upstream: Upstream, auth: SmallServer, more: dict[str, Any]
) -> None:
    start_cached(daemon, {HOST: options(upstream, auth)}, **more)
    assert status(ask(daemon)) == 200
    auth.hangs = True
    for request in (get(HOST), b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: 9\r\n\r\nx" % HOST.encode()):
        daemon.forget_log()
        asked = len(auth.heads)
        with closing(tls_connection(daemon, HOST)) as connection:
            connection.sendall(request)
            eventually(lambda asked=asked: len(auth.heads) == asked + 1)  # type: ignore[misc]
        eventually(lambda: not auth.open, seconds=3.0)
        daemon.wait_for("status=499")
    auth.hangs = False
    assert status(ask(daemon)) == 200
    assert "Traceback" not in daemon.log()


def test_an_upgrade_is_asked_about_and_the_connections_are_kept(daemon: DaemonProcess, auth: SmallServer) -> None:
    with RawUpstream() as upstream:
        upstream.script = None
        start_cached(daemon, {HOST: options(upstream, auth)}, workers=1)
        wish = get(
            HOST, "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"
        )
        wish = wish.replace(b"Connection: close", b"Connection: Upgrade")
        auth.status = 401
        with closing(tls_connection(daemon, HOST)) as connection:
            connection.sendall(wish)
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
        assert not upstream.received()
        auth.status = 200
        with closing(tls_connection(daemon, HOST)) as connection:
            connection.sendall(wish + b"early")
            peer = upstream.accept()
            assert b"Upgrade: websocket" in peer.head()
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
            assert b"hello" in connection.recv(1000) + connection.recv(1000)
    assert auth.connections == 1, "one connection serves for several questions"


def test_a_unix_socket_and_a_private_ca(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path) -> None:
    with threaded_server(path=tmp_path / "auth.sock") as auth:
        asked = {"url": f"unix:{tmp_path}/auth.sock:/verify"}
        start_cached(daemon, {HOST: {"upstream": upstream.port, "forward_auth": asked}}, workers=1)
        assert status(ask(daemon)) == 200
        assert auth.heads[0].startswith(b"GET /verify HTTP/1.1\r\nHost: localhost\r\n")
        daemon.configure(
            {HOST: {"upstream": upstream.port, "forward_auth": {**asked, "ca": str(tmp_path / "none.pem")}}}, acme=NO_CA
        )
        told = command(daemon, "check")
        assert (told.status, "forward_auth.ca" in told.err) == (2, True)
    assert status(ask(daemon)) == 502


def test_why_it_is_not_trusted_is_said_with_what_can_be_written_there(
    daemon: DaemonProcess, upstream: Upstream, tmp_path: Path
) -> None:
    ours, other = PrivateCa(tmp_path / "ca"), PrivateCa(tmp_path / "ca", "Other")
    with threaded_server(tls=ours.server("localhost")) as auth:

        def hosts(name: str, ca: Path | None) -> dict[str, Any]:
            asked = {"url": f"https://{name}:{auth.port}", "ca": str(ca) if ca else None}
            return {HOST: {"upstream": upstream.port, "forward_auth": asked}}

        start_cached(daemon, hosts("localhost", ours.root), workers=1)
        assert status(ask(daemon)) == 200
        for name, ca, said in (
            ("localhost", other.root, f"no CA in {other.root} (forward_auth.ca) signed it"),
            ("localhost", None, "set forward_auth.ca to the root certificate of its CA"),
            ("127.0.0.1", ours.root, "write it in forward_auth.url as a name that is in it"),
        ):
            daemon.configure(hosts(name, ca), acme=NO_CA, workers=1)
            reload(daemon)
            assert status(ask(daemon)) == 502
            daemon.wait_for(said)
            assert "upstream_tls" not in daemon.log()


@FRONTS
def test_cookies_of_the_server_reach_the_client_and_who_it_is_the_log(
    daemon: DaemonProcess, upstream: Upstream, auth: SmallServer, more: dict[str, Any]
) -> None:
    rules = options(upstream, auth, paths={"/old": {"redirect": "/new"}})
    rules["forward_auth"]["copy_headers"] = ["X-Username", "Remote-User", "X-Id-User", "Authorization"]
    start_cached(daemon, {HOST: rules, OTHER: upstream.port}, log={"access": {"format": "json"}}, **more)
    auth.lines = (
        "Set-Cookie: session=2; Secure\r\nset-cookie: csrf=3\r\nX-Other: 1\r\n"
        "Remote-User: alice\r\nX-Username: \r\nX-Id-User: 7\r\nAuthorization: Bearer secret\r\n"
    )
    for path, code in (("/", 200), ("/old", 308)):
        head = ask(daemon, path=path).partition(b"\r\n\r\n")[0]
        assert status(head) == code
        assert {b"Set-Cookie: session=2; Secure", b"set-cookie: csrf=3"} <= {*head.split(b"\r\n")}
        assert b"X-Other" not in head
    assert "set-cookie" not in seen(ask(daemon))
    auth.lines = ""
    assert b"ookie" not in ask(daemon).partition(b"\r\n\r\n")[0]
    assert b"ookie" not in ask(daemon, host=OTHER).partition(b"\r\n\r\n")[0]
    eventually(lambda: daemon.log().count('"event": "request"') == 5, what=daemon.log)
    found = [json.loads(one)["user"] for one in daemon.log().splitlines() if '"event": "request"' in one]
    assert found.count("alice") == 3
    assert found.count(None) == 2
    assert "secret" not in daemon.log()


def test_guards_in_their_order_and_a_reload(daemon: DaemonProcess, upstream: Upstream, auth: SmallServer) -> None:
    rules = {
        "headers": {"request": {"set": {"Remote-User": "fixed"}}},
        "redirect": "https://new.example",
        "deny": ["127.0.0.2"],
    }
    start_cached(daemon, {HOST: options(upstream, auth, **rules)}, workers=1)
    auth.status = 401
    assert status(ask(daemon)) == 401
    assert status(ask(daemon, source="127.0.0.2")) == 403
    assert len(auth.heads) == 1
    auth.status, auth.lines = 200, "Remote-User: alice\r\n"
    assert status(ask(daemon)) == 308
    daemon.configure({HOST: options(upstream, auth, headers=rules["headers"])}, acme=NO_CA, workers=1)
    reload(daemon)
    assert seen(ask(daemon))["remote-user"] == "fixed", "what the file sets holds"
    paths = {"/in/": {"upstream": upstream.port, "strip": True}}
    daemon.configure({HOST: options(upstream, auth, paths=paths)}, acme=NO_CA, workers=1)
    reload(daemon)
    inner = ask(daemon, path="/in/x?y")
    assert seen(inner)["remote-user"] == "alice"
    assert json.loads(inner.partition(b"\r\n\r\n")[2])["target"] == "/x?y"
    assert b"X-Forwarded-Uri: /in/x?y\r\n" in auth.heads[-1]


def test_the_pages_of_the_server_itself_are_there_for_everybody(
    daemon: DaemonProcess, upstream: Upstream, auth: SmallServer
) -> None:
    paths = {"/oauth2/": auth.port, "/oauth2/app/": upstream.port, "/both/": [auth.port, upstream.port]}
    start_cached(daemon, {HOST: options(upstream, auth, paths=paths)}, workers=1)
    auth.status, auth.name = 403, "of the server"
    lies = "Remote_User: eve", "X-Forwarded-Uri: /eve", "x_original_url: /eve"
    assert ask(daemon, *lies, path="/oauth2/callback?code=1").endswith(b"of the server")
    (head,) = auth.heads
    assert head.startswith(b"GET /oauth2/callback?code=1 HTTP/1.1\r\n")
    assert b"eve" not in head
    for path in ("/", "/oauth2x", "/oauth2/app/", "/both/x", "//oauth2/"):
        assert status(ask(daemon, path=path)) == 403
        assert auth.heads[-1].startswith(b"GET /check?rule=1 "), "asked about"
