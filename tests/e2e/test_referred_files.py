"""Files that hosts refer to are read again when they change, without a reload; what did not change keeps all it has."""

import os
import socket
import time
from pathlib import Path

import pytest

from tests.support.cached import for_anybody, get, start_cached, status, tls
from tests.support.command import command
from tests.support.daemon import DaemonProcess, eventually
from tests.support.private_ca import PrivateCa
from tests.support.raw_upstream import RawUpstream
from tests.support.small_server import threaded_server

HOST, OTHER, SHUT = "one.example.test", "two.example.test", "shut.example.test"
READ = "files that hosts refer to were changed: read again"
_KEPT = get(OTHER).replace(b"Connection: close\r\n", b"")


@pytest.fixture(params=[1, 2])
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def ask(daemon: DaemonProcess, host: str = HOST) -> bytes:
    return tls(daemon.https_port, host, get(host))


def put(file: Path, content: bytes) -> None:
    """Replace a file as careful programs do."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.rename(file)


def wait_read(daemon: DaemonProcess, *files: Path) -> None:
    """Wait until they were read again."""
    line = f"{READ} files=" + ", ".join(map(str, files))
    eventually(lambda: line in daemon.log().replace('"', ""), what=daemon.log)
    daemon.forget_log()


def test_a_page_and_files_for_upstreams(daemon: DaemonProcess, tmp_path: Path, number: int) -> None:
    ca, new_ca, clients = PrivateCa(tmp_path / "a"), PrivateCa(tmp_path / "b"), PrivateCa(tmp_path / "c", "Clients")
    page, root, cert, key = (tmp_path / name for name in ("page.html", "root.pem", "client.crt", "client.key"))
    page.write_text("closed until eight")
    root.write_bytes(ca.root.read_bytes())
    _pair(clients.make("proxy.test"), cert, key)
    with (
        threaded_server("old", tls=ca.server("127.0.0.1", client_ca=clients.root)) as old,
        threaded_server("new", tls=new_ca.server("127.0.0.1", client_ca=clients.root)) as new,
        RawUpstream() as other,
    ):
        other.script = None
        trust = {"ca": str(root), "cert": str(cert), "key": str(key)}
        hosts = {
            HOST: {"upstream": f"https://127.0.0.1:{old.port}", "upstream_tls": trust},
            "new.example.test": {"upstream": f"https://127.0.0.1:{new.port}", "upstream_tls": trust},
            SHUT: {"upstream": 1, "maintenance": {"page": str(page)}},
            OTHER: other.port,
        }
        start_cached(daemon, hosts, workers=number)
        assert ask(daemon).endswith(b"old")
        assert status(ask(daemon, "new.example.test")) == 502
        assert ask(daemon, SHUT).endswith(b"closed until eight")
        with socket.create_connection(("127.0.0.1", daemon.https_port), 10) as raw:
            client = for_anybody().wrap_socket(raw, server_hostname=OTHER)
            client.sendall(_KEPT)
            peer = other.accept()
            peer.head()  # and answers when everything has changed
            daemon.forget_log()

            put(page, b"closed until nine")
            put(root, new_ca.root.read_bytes())  # nothing goes on over a connection that another CA vouched for
            wait_read(daemon, page, root)
            assert ask(daemon, SHUT).endswith(b"closed until nine")
            assert ask(daemon, "new.example.test").endswith(b"new")
            assert status(ask(daemon)) == 502
            for is_last in (False, True):  # on both sides the same connections as before
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert client.recv(65536).endswith(b"ok")
                if not is_last:
                    client.sendall(_KEPT)
                    peer.head()

            root.unlink()  # the last good one serves on
            wait_read(daemon, root)
            assert ask(daemon, "new.example.test").endswith(b"new")
            client.close()
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_a_pair_that_is_half_replaced_serves_on(daemon: DaemonProcess, tmp_path: Path) -> None:
    ca, clients, others = (PrivateCa(tmp_path / name, name) for name in ("servers", "clients", "others"))
    cert, key = tmp_path / "client.crt", tmp_path / "client.key"
    _pair(others.make("proxy.test"), cert, key)
    with threaded_server("fine", tls=ca.server("127.0.0.1", client_ca=clients.root)) as server:
        url = f"https://127.0.0.1:{server.port}"
        trust = {"ca": str(ca.root), "cert": str(cert), "key": str(key)}
        start_cached(daemon, {HOST: {"upstream": url, "upstream_tls": trust}}, workers=1)
        assert status(ask(daemon)) == 502
        other_cert, other_key = tmp_path / "other.crt", tmp_path / "other.key"
        _pair(clients.make("proxy.test"), other_cert, other_key)
        put(cert, other_cert.read_bytes())
        daemon.wait_for(f"{cert}: the key in {key} is not that of the certificate")
        daemon.wait_for("the files as they were serve on")
        put(key, other_key.read_bytes())
        eventually(lambda: ask(daemon).endswith(b"fine"), what=daemon.log)


def test_one_that_is_written_all_the_time_holds_up_no_other(daemon: DaemonProcess, tmp_path: Path) -> None:
    page, restless = tmp_path / "page.html", tmp_path / "restless.html"
    page.write_text("one")
    restless.write_text("")
    hosts = {
        HOST: {"upstream": 1, "maintenance": {"page": str(page)}},
        OTHER: {"upstream": 1, "maintenance": {"page": str(restless)}},
    }
    start_cached(daemon, hosts, workers=1)
    put(page, b"two")
    deadline = time.monotonic() + 30
    while not ask(daemon).endswith(b"two"):
        assert time.monotonic() < deadline, daemon.log()
        with restless.open("a") as file:
            file.write("more ")
        time.sleep(0.2)


def _pair(both: Path, cert: Path, key: Path) -> None:
    """Write key and certificate of one file to two."""
    private, begin, rest = both.read_bytes().partition(b"-----BEGIN CERTIFICATE")
    key.write_bytes(private)
    cert.write_bytes(begin + rest)


def test_a_reload_reads_them_too(daemon: DaemonProcess, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("one")
    start_cached(daemon, {HOST: {"upstream": 1, "maintenance": {"page": str(page)}}}, workers=1)
    daemon.forget_log()
    put(page, b"two")
    daemon.reload()
    daemon.wait_for("reloaded")
    assert ask(daemon).endswith(b"two")
    time.sleep(5)
    assert READ not in daemon.log(), "once is enough"


def test_a_pipe_in_the_place_of_a_file_is_waited_for_by_nobody(daemon: DaemonProcess, tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    anchor = str(PrivateCa(tmp_path / "a").root)
    with threaded_server("open") as other:
        plain, encrypted = other.url, f"https://127.0.0.1:{other.port}"
        hosts: dict[str, object] = {
            OTHER: plain,
            "a.example.test": {"upstream": plain, "tls": {"client_ca": pipe}},
            "b.example.test": {"upstream": plain, "tls": {"client_ca": anchor, "client_crl": pipe}},
            "c.example.test": {"upstream": encrypted, "upstream_tls": {"ca": pipe}},
            "d.example.test": {"upstream": encrypted, "upstream_tls": {"ca": anchor, "cert": pipe, "key": anchor}},
            "e.example.test": {"upstream": plain, "basic_auth": {"users": pipe}},
            SHUT: {"upstream": plain, "maintenance": {"page": pipe}},
        }
        start_cached(daemon, hosts)
        assert status(ask(daemon, OTHER)) == 200
        assert [status(ask(daemon, name)) for name in hosts if name != OTHER] == [503] * 6
        assert daemon.log().count("Not a regular file") >= 6
        assert command(daemon, "check").err.count("Not a regular file") >= 5
