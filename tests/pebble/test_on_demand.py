"""Certificates for names under a wildcard host, ordered when a client first asks for them."""

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from pebble.server import Pebble
from tests.support.ask import AskServer
from tests.support.certs import make_pem
from tests.support.command import command
from tests.support.daemon import ROOT, DaemonProcess, HttpsClient, eventually
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


def wildcard(
    upstream: Upstream, *, ask: AskServer | str | None = None, most: int = 100, **acme: object
) -> dict[str, object]:
    url = ask.url if isinstance(ask, AskServer) else ask
    return {"upstream": upstream.port, "acme": {"on_demand": {"ask": url, "max_new_per_day": most}, **acme}}


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


def client_hello(server_name: bytes) -> bytes:
    """Return OpenSSL's hello with any bytes as the server name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="placeholder").do_handshake()
    hello = out.read()
    old, more = b"placeholder", len(server_name) - len(b"placeholder")
    at = hello.index(old)

    def longer(start: int, size: int) -> bytes:
        return (int.from_bytes(hello[start : start + size]) + more).to_bytes(size)

    # Lengths of: record, message, all extensions (OpenSSL sends no session ticket first), this one, list, name.
    extensions = _extensions_at(hello)
    parts = [(3, 2), (6, 3), (extensions, 2), (at - 7, 2), (at - 5, 2), (at - 2, 2)]
    data = bytearray(hello)
    for start, size in parts:
        data[start : start + size] = longer(start, size)
    return bytes(data[:at] + server_name + data[at + len(old) :])


def _extensions_at(hello: bytes) -> int:
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2])
    return at + 1 + hello[at]


def raw_alert(daemon: DaemonProcess, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", daemon.https_port), 30) as raw:
        raw.sendall(data)
        return raw.recv(100)


def events(daemon: DaemonProcess, kind: str) -> list[tuple[str, dict[str, object]]]:
    rows = daemon.journal("SELECT host, fields FROM event WHERE kind = ?", kind)
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
            WILDCARD: wildcard(upstream, ask=ask, challenges=["http-01"]),
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
        assert "challenge=http-01" in daemon.log()
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


def test_renewed_when_idle_asked_before_and_forgotten_when_refused(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    later: dict[str, int] = {}
    with (
        a_ca(tmp_path, daemon, timedelta(seconds=10)) as pebble,
        AskServer(lambda name: later.get(name, 200)) as ask,
    ):
        daemon.configure({WILDCARD: wildcard(upstream, ask=ask)}, pebble=pebble)
        daemon.start()
        assert [alert(daemon, name) for name in (A, B, C)] == ["served"] * 3
        later |= {B: 403, C: 500}
        for name in (A, C):  # nobody asks for them meanwhile
            eventually(lambda name=name: daemon.log().count(f"certificate issued host={name}") >= 3, what=daemon.log)  # type: ignore[misc]
        daemon.wait_for(f"forgotten host={B}")
        assert daemon.log().count(f"certificate issued host={B}") == 1
        assert f'not ordered host={B} reason="not renewed: {ask.url} answered 403"' in daemon.log()
        assert f"renewed without an answer host={C}" in daemon.log()
        assert alert(daemon, B) == UNKNOWN
        assert alert(daemon, A) == "served"
        assert ask.asked.count(A) >= 3
        assert daemon.stop() == 0
        kept = {name for (name,) in daemon.journal("SELECT name FROM state")}
        assert f"lineage {A} p256" in kept
        # What a CA gave counts for our ceiling until its week is over, whoever is forgotten meanwhile.
        assert {name for name in kept if B in name} == {f"ca {pebble.url} issued p256 {B}"}


def test_a_failure_is_not_repeated_by_clients_or_restarts(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=1, tls_port=1) as pebble, AskServer(lambda _: 200) as ask:
        daemon.configure({WILDCARD: wildcard(upstream, ask=ask)}, pebble=pebble)
        daemon.start()
        assert [alert(daemon, A) for _ in range(3)] == [LATER] * 3
        assert pebble.orders() == 2  # one for each challenge type
        assert daemon.stop() == 0
        daemon.start()
        assert alert(daemon, A) == LATER
        assert pebble.orders() == 2
        assert ask.asked == [A]


FORMS = {
    b"A.APPS.Example.TEST": "served",
    b"a.apps.example.test.": "served",
    b"a.apps.example.test..": UNKNOWN,
    b".apps.example.test": UNKNOWN,
    b"apps.example.test": UNKNOWN,
    b"x.y.apps.example.test": UNKNOWN,
    b"under_score.apps.example.test": UNKNOWN,
    b"-a.apps.example.test": UNKNOWN,
    b"xn--a.apps.example.test": UNKNOWN,
    b"*.apps.example.test": UNKNOWN,
    b"a b.apps.example.test": UNKNOWN,
    b"a/../b.apps.example.test": UNKNOWN,
    b"a%00.apps.example.test": UNKNOWN,
    b"a\0.apps.example.test": UNKNOWN,
    b"a\n.apps.example.test": UNKNOWN,
    b"127.0.0.1": UNKNOWN,
    b"::1": UNKNOWN,
    b"": UNKNOWN,
    b"a" * 64 + b".apps.example.test": UNKNOWN,
    b".".join([b"a" * 60] * 5): UNKNOWN,
    b"a" * 15_000: UNKNOWN,
}


def test_forms_of_names_that_are_no_names(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with a_ca(tmp_path, daemon) as pebble, AskServer(lambda _: 200) as ask:
        daemon.configure({WILDCARD: wildcard(upstream, ask=ask), LISTED: upstream.port}, pebble=pebble)
        daemon.start()
        assert alert(daemon, A) == "served"
        for form, ends in FORMS.items():
            answer = raw_alert(daemon, client_hello(form))
            if ends == "served":
                assert answer[:1] == b"\x16", form
            else:
                alerts = (0x70, 0x0A) if len(form) > 255 else (0x70,)  # OpenSSL 3.5 ends it itself
                assert answer[:-1] == b"\x15\x03\x03\x00\x02\x02", form
                assert answer[-1] in alerts, form
        assert alert(daemon, None) == UNKNOWN
        assert ask.asked == [A]
        assert raw_alert(daemon, client_hello("bücher.apps.example.test".encode()))[-1:] == b"\x0a"
        assert pebble.orders() == 2


def test_the_status_and_a_killed_daemon(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with a_ca(tmp_path, daemon) as pebble, AskServer(lambda name: 403 if name == B else 200) as ask:
        daemon.configure({WILDCARD: wildcard(upstream, ask=ask), LISTED: upstream.port}, pebble=pebble)
        daemon.start()
        assert [alert(daemon, name) for name in (A, B)] == ["served", UNKNOWN]
        eventually(lambda: alert(daemon, LISTED) == "served", what=daemon.log)
        assert ask.asked == [A, B]
        rows = status(daemon)
        assert {host: row["state"] for host, row in rows.items()} == {LISTED: "ready", A: "ready"}
        assert daemon.stop(signal.SIGKILL) != 0
        assert status(daemon).keys() == rows.keys()  # from the cache
        (daemon.cache / A).write_bytes(b"garbage")
        (daemon.cache / C).write_bytes(b"garbage")
        (daemon.cache / "d.apps.example.test").mkdir()
        (daemon.cache / "nobody.example.test").write_bytes(make_pem("nobody.example.test"))
        (daemon.cache / "e.apps.example.test").write_bytes(make_pem("other.example.test"))
        daemon.forget_log()
        daemon.start()
        assert alert(daemon, A) == "served"
        assert alert(daemon, "nobody.example.test") == UNKNOWN
        assert alert(daemon, C) == "served"  # new again
        assert ask.asked[2:] == [C]


def status(daemon: DaemonProcess) -> dict[str, dict[str, object]]:
    command = [sys.executable, "-m", "proxyd", "status", "--json", "-c", str(daemon.file)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=False)
    hosts: dict[str, dict[str, object]] = json.loads(found.stdout)["hosts"]
    return hosts


def test_a_wildcard_host_and_a_name_that_got_nothing_can_be_shown_and_explained(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    answers: dict[str, int | None] = {A: 200, B: 403, C: 500}
    with a_ca(tmp_path, daemon) as pebble, AskServer(lambda name: answers.get(name, 200)) as ask:
        daemon.configure({WILDCARD: wildcard(upstream, ask=ask, most=1)}, pebble=pebble)
        daemon.start()
        assert [alert(daemon, name) for name in (B, B, C, A)] == [UNKNOWN, UNKNOWN, LATER, "served"]
        shown = command(daemon, "status")
        assert shown.status == 0
        line = next(line for line in shown.out.splitlines() if line.startswith("*"))
        assert line.split()[:3] == [WILDCARD, "waiting", pebble.url]
        assert "1 name is served; 1 of 1 new names in 24 h used" in line
        told = command(daemon, "status", "--json", WILDCARD, B)
        assert told.status == 0
        row = told.json["hosts"].pop(B)
        assert (row["state"], row["needs_a_person"]) == ("missing", False)
        assert "ask refused" in row["last_error"]
        assert told.json["on_demand"][WILDCARD]["new_today"] == 1

        refused = command(daemon, "explain", B)
        assert refused.status == 0
        assert f"ask refused ({ask.url} answered 403)" in refused.out
        assert f"let {ask.url} answer 2xx to ?domain={B}" in refused.out
        assert f"ask gave no answer ({ask.url} answered 500)" in command(daemon, "explain", C).out
        assert alert(daemon, "f.apps.example.test") == LATER
        full = command(daemon, "explain", "f.apps.example.test").out
        assert "max_new_per_day is used up" in full
        assert f"raise acme.on_demand.max_new_per_day of {WILDCARD}" in full
        assert command(daemon, "explain", "*.other.example.test").status == 2

        assert daemon.stop() == 0
        kept = command(daemon, "status", "--json", WILDCARD)
        assert kept.json["from"] == "cache"
        assert kept.json["on_demand"] == told.json["on_demand"]
        whole = command(daemon, "explain", WILDCARD).out
        assert f"Names with a certificate, or an order: {A}." in whole
        assert "ask refused: " in whole  # as counted for all names under it
        assert "Start the daemon" in whole
        assert command(daemon, "status", "x*.apps.example.test").status == 2
