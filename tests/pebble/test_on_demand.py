"""Certificates for names under a wildcard host, ordered when a client first asks for them."""

import contextlib
import json
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from pebble.server import Pebble
from tests.support.ask import AskServer
from tests.support.daemon import DaemonProcess, HttpsClient
from tests.support.upstream import Upstream

LISTED = "listed.example.test"
A, B, C = (f"{one}.apps.example.test" for one in "abc")
WILDCARD = "*.apps.example.test"


@contextlib.contextmanager
def a_ca(tmp_path: Path, daemon: DaemonProcess, lifetime: timedelta = timedelta(days=90)) -> Iterator[Pebble]:
    with Pebble(
        tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port, lifetime=lifetime
    ) as pebble:
        yield pebble


def wildcard(upstream: Upstream, *, ask: AskServer | str | None = None, most: int = 100) -> dict[str, object]:
    url = ask.url if isinstance(ask, AskServer) else ask
    return {"upstream": upstream.port, "acme": {"on_demand": {"ask": url, "max_new_per_day": most}}}


def alert(daemon: DaemonProcess, server_name: str | None, *, timeout: float = 30) -> str:
    """Return how a handshake ends: `served`, or the name of the alert."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", daemon.https_port), timeout) as raw,
            context.wrap_socket(raw, server_hostname=server_name),
        ):
            return "served"
    except ssl.SSLError as error:
        return error.reason or ""
    except OSError as error:
        return type(error).__name__


UNKNOWN, LATER = "TLSV1_UNRECOGNIZED_NAME", "TLSV1_ALERT_INTERNAL_ERROR"


def events(daemon: DaemonProcess, kind: str) -> list[tuple[str, dict[str, object]]]:
    with sqlite3.connect(daemon.cache / "+proxyd" / "journal.sqlite3") as connection:
        rows = connection.execute("SELECT host, fields FROM event WHERE kind = ?", (kind,)).fetchall()
    return [(host, json.loads(fields)) for host, fields in rows]


def files(daemon: DaemonProcess) -> set[str]:
    return {one.name for one in daemon.cache.iterdir() if one.is_file()}


def test_the_first_handshake_waits_for_the_one_shared_attempt(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with a_ca(tmp_path, daemon) as pebble, AskServer(lambda name: 204 if name == A else 404) as ask:
        daemon.configure({WILDCARD: wildcard(upstream, ask=ask)}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        with ThreadPoolExecutor(20) as pool:
            leaves = set(pool.map(lambda _: client.leaf(A), range(20)))
        assert len(leaves) == 1
        assert ask.targets == [f"/check?domain={A}"]
        assert pebble.orders() == 1
        assert b" 200 OK" in client.get(A)
        assert client.get(A, name=B).startswith(b"HTTP/1.1 421 ")
        assert alert(daemon, B) == UNKNOWN
        assert alert(daemon, B.upper() + ".") == UNKNOWN  # the same name: not asked again
        assert ask.asked == [A, B]
        with socket.create_connection(("127.0.0.1", daemon.http_port), 5) as plain:
            plain.sendall(f"GET /x HTTP/1.1\r\nHost: {A}\r\nConnection: close\r\n\r\n".encode())
            assert b"308" in plain.recv(100)
        assert daemon.stop() == 0
        ask.answer = lambda name: 404
        daemon.start()  # the file is found again: no question, no order
        assert leaves == {client.leaf(A)}
        assert pebble.orders() == 1
        assert ask.asked == [A, B]
        assert daemon.stop() == 0
        assert [host for host, _ in events(daemon, "new on demand")] == [A]
        assert ask.url not in str(leaves)


def test_listed_names_come_first_and_have_nothing_to_ask(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with a_ca(tmp_path, daemon) as pebble, AskServer(lambda _: 200) as ask:
        options = wildcard(upstream, ask=ask)
        daemon.configure({WILDCARD: options, "*": options, A: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([A], daemon=daemon)
        assert ask.asked == []
        deep = "x.y.example.test"
        assert b" 200 OK" in client.get(deep)
        assert b" 200 OK" in client.get(B)
        assert ask.asked == [deep, B]
        daemon.configure({A: upstream.port}, pebble=pebble)
        daemon.reload()
        daemon.wait_for("reloaded")
        assert alert(daemon, B) == UNKNOWN  # the wildcard host is gone
        assert client.leaf(A)
        daemon.forget_log()
        daemon.configure({WILDCARD: options, A: upstream.port}, pebble=pebble)
        daemon.reload()
        daemon.wait_for("reloaded")
        assert client.leaf(B)  # its file is still there
        assert alert(daemon, deep) == UNKNOWN
        assert pebble.orders() == 3


def test_without_ask_the_days_allowance_is_the_guard(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with a_ca(tmp_path, daemon) as pebble:
        daemon.configure({WILDCARD: wildcard(upstream, most=2)}, pebble=pebble)
        daemon.start()
        assert [alert(daemon, name) for name in (A, B, C)] == ["served", "served", LATER]
        assert daemon.stop() == 0
        daemon.start()  # a restart wins no new name
        assert alert(daemon, C) == LATER
        assert [alert(daemon, name) for name in (A, B)] == ["served", "served"]
        assert pebble.orders() == 2


ANSWERS: dict[str, tuple[int | bytes | None, str]] = {
    "ok": (200, "served"),
    "no-content": (204, "served"),
    "moved": (301, UNKNOWN),
    "redirected": (307, UNKNOWN),
    "forbidden": (403, UNKNOWN),
    "broken": (500, LATER),
    "garbage": (b"garbage\r\n\r\n", LATER),
    "huge": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, LATER),
    "nothing": (b"", LATER),
    "never": (None, LATER),
}


def test_what_ask_may_answer(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    names = {f"{label}.apps.example.test": pair for label, pair in ANSWERS.items()}
    with a_ca(tmp_path, daemon) as pebble, AskServer(lambda name: names[name][0]) as ask:
        daemon.configure({WILDCARD: wildcard(upstream, ask=f"{ask.url}?token=secret")}, pebble=pebble)
        daemon.start()
        for name, (_, ends) in names.items():
            assert (name, alert(daemon, name)) == (name, ends)
        assert pebble.orders() == 2
        assert all(target.startswith("/check?token=secret&domain=") for target in ask.targets)
        daemon.wait_for("names were refused on demand")
        assert daemon.stop() == 0
        assert "secret" not in daemon.log()
        assert files(daemon) == {"ok.apps.example.test", "no-content.apps.example.test", "acme_account+key"}
        assert {host for host, _ in events(daemon, "refused on demand")} == {WILDCARD}


def test_ask_over_a_unix_socket_and_over_nothing(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with a_ca(tmp_path, daemon) as pebble, AskServer(lambda _: 200, socket=tmp_path / "ask.sock") as ask:
        hosts: dict[str, object] = {
            WILDCARD: wildcard(upstream, ask=ask),
            "*.down.example.test": wildcard(upstream, ask="http://127.0.0.1:1/"),
            "*.tls.example.test": wildcard(upstream, ask=pebble.url),  # its CA is not one that the system trusts
        }
        daemon.configure(hosts, pebble=pebble)
        daemon.start()
        assert alert(daemon, A) == "served"
        assert ask.targets == [f"/check?domain={A}"]
        assert alert(daemon, "a.down.example.test") == LATER
        assert alert(daemon, "a.tls.example.test") == LATER
        daemon.wait_for("names were refused on demand")
        assert daemon.stop() == 0
        assert "its certificate is not trusted" in daemon.log()
        assert pebble.orders() == 1


def test_an_attempt_goes_on_when_the_client_leaves(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    release = threading.Event()

    def slowly(_: str) -> int:
        release.wait(1.5)
        return 200

    with a_ca(tmp_path, daemon) as pebble, AskServer(slowly) as ask:
        daemon.configure({WILDCARD: wildcard(upstream, ask=ask)}, pebble=pebble)
        daemon.start()
        assert alert(daemon, A, timeout=0.3) == "TimeoutError"
        release.set()
        daemon.wait_for("certificate issued")
        assert alert(daemon, A) == "served"
        assert ask.asked == [A]
