"""Several upstreams, TLS and unix sockets towards them, names whose addresses change, health, reloads."""

import contextlib
import ctypes
import errno
import os
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from pebble.server import free_port
from tests.support.cached import NO_CA, get, reload, start_cached, status, tls
from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess, eventually
from tests.support.private_ca import PrivateCa
from tests.support.small_server import threaded_server

HOST = "one.example.test"


def ask(daemon: DaemonProcess, host: str = HOST) -> bytes:
    return tls(daemon.https_port, host, get(host))


def body(answer: bytes) -> str:
    head, _, rest = answer.partition(b"\r\n\r\n")
    return rest.decode() if head.startswith(b"HTTP/1.1 200 ") else head.split(b"\r\n")[0].decode()


def test_requests_survive_the_end_of_upstreams(daemon: DaemonProcess) -> None:
    with threaded_server("one") as one:
        with threaded_server("two") as two:
            start_cached(daemon, {HOST: [one.url, two.url]})
            shares = Counter(body(ask(daemon)) for _ in range(20))
            assert shares.keys() == {"one", "two"}
            assert min(shares.values()) >= 9, "each worker gives in turn"
        assert {body(ask(daemon)) for _ in range(20)} == {"one"}
        daemon.wait_for("it is left out")
        with threaded_server("two", port=two.port):  # its probe comes ten seconds later
            assert {body(ask(daemon)) for _ in range(5)} == {"one"}
    statuses = [status(ask(daemon)) for _ in range(4)]
    assert statuses == [502, 502, 503, 503]
    answer = ask(daemon)
    assert b"\r\nRetry-After: " in answer
    assert one.url.encode() not in answer
    daemon.wait_for("no upstream is available: ")


def test_tls_to_an_upstream_is_verified(daemon: DaemonProcess, tmp_path: Path) -> None:
    ca, clients = PrivateCa(tmp_path / "ca"), PrivateCa(tmp_path / "clients", "Clients")
    own = clients.make("proxy.test")
    with threaded_server("verified", tls=ca.server("127.0.0.1", "app.test", client_ca=clients.root)) as server:
        url = f"https://127.0.0.1:{server.port}"
        known = {"ca": str(ca.root), "cert": str(own)}
        hosts = {
            HOST: {"upstream": url, "upstream_tls": known},
            "named.example.test": {"upstream": url, "upstream_tls": {**known, "server_name": "app.test"}},
            "wrong.example.test": {"upstream": url, "upstream_tls": {**known, "server_name": "other.test"}},
            "unknown.example.test": url,
        }
        start_cached(daemon, hosts)
        assert body(ask(daemon)) == "verified"
        assert body(ask(daemon, "named.example.test")) == "verified"
        assert server.connections >= 1
        for host, says in (
            ("wrong.example.test", "its certificate is not for other.test: set upstream_tls.server_name"),
            ("unknown.example.test", "this machine trusts no CA that signed it: set upstream_tls.ca to the root"),
        ):
            assert status(ask(daemon, host)) == 502
            daemon.wait_for(says)


def test_the_pin_of_a_self_signed_upstream_is_in_the_log(daemon: DaemonProcess, tmp_path: Path) -> None:
    own = tmp_path / "appliance.pem"
    own.write_bytes(make_pem("appliance.test"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    with threaded_server("an appliance", tls=context) as server:
        url = f"https://127.0.0.1:{server.port}"
        start_cached(daemon, {HOST: url})
        assert status(ask(daemon)) == 502
        eventually(lambda: "upstream_tls: {pin: " in daemon.log(), what=daemon.log)
        (line,) = {*re.findall(r"`(upstream_tls: .*?)`", daemon.log().replace("\\", ""))}
        reconfigure(daemon, {HOST: {"upstream": url, **yaml.safe_load(line)}})
        assert body(ask(daemon)) == "an appliance"


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_a_body_without_a_length_ends_with_the_end_of_tls(
    daemon: DaemonProcess, tmp_path: Path, says_goodbye: bool
) -> None:
    """Without it anybody on the way could have cut it (RFC 9112 §9.8)."""
    ca = PrivateCa(tmp_path / "ca")

    def serve(listening: socket.socket) -> None:
        raw, _ = listening.accept()
        with ca.server("127.0.0.1").wrap_socket(raw, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nbegun")
            if says_goodbye:
                with contextlib.suppress(OSError):
                    connection.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve, listening)
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        start_cached(daemon, {HOST: {"upstream": url, "upstream_tls": {"ca": str(ca.root)}}})
        answer = ask(daemon)
        serving.result()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n5\r\nbegun\r\n" + (b"0\r\n\r\n" if says_goodbye else b""))


def test_an_upstream_that_wants_a_client_certificate_is_told_from_others(daemon: DaemonProcess, tmp_path: Path) -> None:
    ca = PrivateCa(tmp_path / "ca")
    context = ca.server("127.0.0.1", client_ca=ca.root)

    def refuse() -> None:
        with contextlib.suppress(ssl.SSLError), listener.accept()[0] as sock:
            context.wrap_socket(sock, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:  # asyncio's server says nothing before it closes
        refusing = threading.Thread(target=refuse)
        refusing.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        start_cached(daemon, {HOST: {"upstream": url, "upstream_tls": {"ca": str(ca.root)}}})
        assert status(ask(daemon)) == 502
        refusing.join()
    daemon.wait_for("if it wants a client certificate, set upstream_tls.cert and key")


def test_a_broken_ca_file_is_the_trouble_of_its_host(daemon: DaemonProcess, tmp_path: Path) -> None:
    ca = PrivateCa(tmp_path / "ca")
    file = tmp_path / "root.pem"
    with threaded_server("verified", tls=ca.server("127.0.0.1")) as server, threaded_server("plain") as other:
        hosts = {
            HOST: {"upstream": f"https://127.0.0.1:{server.port}", "upstream_tls": {"ca": str(file)}},
            "two.example.test": other.url,
        }
        start_cached(daemon, hosts)
        assert body(ask(daemon, "two.example.test")) == "plain"
        answer = ask(daemon)
        assert status(answer) == 503
        assert b"\r\nRetry-After: " in answer
        assert f"hosts.{HOST}.upstream_tls.ca: warning: {file} cannot be used (No such file" in daemon.log()
        file.write_bytes(ca.root.read_bytes())
        reload(daemon)
        assert body(ask(daemon)) == "verified"
        file.unlink()
        reload(daemon)
        assert body(ask(daemon)) == "verified"
        assert "the files as they were serve on" in daemon.log()


def test_a_unix_socket(daemon: DaemonProcess, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with threaded_server("socket", path=path) as server:
        start_cached(daemon, {HOST: f"unix:{path}"})
        assert body(ask(daemon)) == "socket"
        assert b"\r\nHost: one.example.test" in server.heads[-1]
    path.unlink(missing_ok=True)
    assert status(ask(daemon)) == 502
    daemon.wait_for("No such file or directory; is it running?")


def test_who_fails_its_health_checks_gets_no_request(daemon: DaemonProcess) -> None:
    health = {"path": "/up", "interval": "100ms", "timeout": "500ms"}
    with threaded_server("one") as one, threaded_server("two") as two:
        start_cached(daemon, {HOST: {"upstream": [one.url, two.url], "health": health, "balance": "first"}})
        assert body(ask(daemon)) == "one"
        one.status = 500
        eventually(lambda: body(ask(daemon)) == "two", what=daemon.log)
        assert {body(ask(daemon)) for _ in range(5)} == {"two"}
        two.status = 500
        eventually(lambda: status(ask(daemon)) == 503, what=daemon.log)
        assert b"\r\nRetry-After: 10\r\n" in ask(daemon)
        one.status = 200
        eventually(lambda: body(ask(daemon)) == "one", what=daemon.log)
        assert any(head.startswith(b"GET /up HTTP/1.1\r\nHost: one.example.test\r\n") for head in one.heads)


def test_a_reload_keeps_the_connections_of_upstreams_that_stay(daemon: DaemonProcess) -> None:
    with threaded_server("one") as one, threaded_server("two") as two:
        start_cached(daemon, {HOST: one.url, "two.example.test": two.url}, workers=1)
        for host in (HOST, "two.example.test"):
            assert status(ask(daemon, host)) == 200
        more = {HOST: {"upstream": one.url, "max_body": 0, "timeouts": {"connect": "5s"}}}
        reconfigure(daemon, more)
        assert body(ask(daemon)) == "one"
        assert one.connections == 1
        eventually(lambda: not two.open)


def reconfigure(daemon: DaemonProcess, hosts: dict[str, Any]) -> None:
    daemon.configure(hosts, acme=NO_CA)
    reload(daemon)


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """What the daemon reads as /etc/hosts."""
    file = tmp_path / "hosts"
    file.write_text("127.0.0.2 app.upstream.test\n")
    return file


def test_new_addresses_of_a_name_are_used(daemon: DaemonProcess, names: Path) -> None:
    port = free_port()  # what the kernel gives for one address may be taken on the other
    with (
        threaded_server("old", address="127.0.0.2", port=port),
        threaded_server("new", address="127.0.0.3", port=port),
    ):
        start_cached(daemon, {HOST: f"http://app.upstream.test:{port}"}, prepare=its_own_names(names), workers=1)
        assert body(ask(daemon)) == "old"
        names.write_text("127.0.0.3 app.upstream.test\n")
        eventually(lambda: body(ask(daemon)) == "new", what=daemon.log)  # although it was never idle
        assert "upstream has new addresses" in daemon.log()
        names.write_text("")  # nobody knows the name: what was known holds
        time.sleep(5)  # so long what is known of a name counts as fresh
        assert body(ask(daemon)) == "new"
        daemon.wait_for("its last addresses are used")


def test_all_addresses_of_a_name_are_tried(daemon: DaemonProcess, names: Path) -> None:
    names.write_text("127.0.0.4 app.upstream.test\n127.0.0.2 app.upstream.test\n")
    with threaded_server("there", address="127.0.0.2") as server:
        start_cached(daemon, {HOST: f"http://app.upstream.test:{server.port}"}, prepare=its_own_names(names))
        assert body(ask(daemon)) == "there"


def its_own_names(file: Path) -> Callable[[], None]:
    """Return what gives a process an /etc/hosts of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_user, new_mounts, bind, private = 0x10000000, 0x20000, 0x1000, 0x44000
    flags = new_mounts if os.geteuid() == 0 else new_mounts | new_user

    def prepare() -> None:
        # In a chroot the root is no mount, and cannot be made private (EINVAL).
        unshared = libc.unshare(flags) == 0
        is_private = libc.mount(b"none", b"/", None, private, None) == 0 or ctypes.get_errno() == errno.EINVAL
        if not unshared or not is_private or libc.mount(os.fsencode(file), b"/etc/hosts", None, bind, None):
            raise OSError(ctypes.get_errno(), "no /etc/hosts of its own")

    return prepare


def test_a_full_upstream_is_said(daemon: DaemonProcess) -> None:
    with threaded_server() as server, ThreadPoolExecutor() as others:
        server.hangs = True
        start_cached(daemon, {HOST: {"upstream": server.url, "max_upstream_connections": 1}})
        first = others.submit(ask, daemon)
        eventually(lambda: server.heads)
        answer = ask(daemon)
        server.cut()
        assert status(first.result()) == 502
    assert status(answer) == 503
    assert b"\r\nRetry-After: 1\r\n" in answer
    daemon.wait_for("has 1 requests under way (max_upstream_connections)")
