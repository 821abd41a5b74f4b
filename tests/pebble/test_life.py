"""What outlives a restart, which challenge proves a name, and what the CA is told."""

import json
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

HOST = "one.example.test"


def states(daemon: DaemonProcess) -> dict[str, dict[str, object]]:
    return {name: json.loads(text) for name, text in daemon.journal("SELECT name, document FROM state")}


def negotiated(daemon: DaemonProcess, pebble: Pebble, protocols: list[str]) -> str | None:
    """Return what a client that trusts only the CA's root agrees on."""
    context = ssl.create_default_context(cadata=pebble.root().decode())
    context.set_alpn_protocols(protocols)
    with (
        socket.create_connection(("127.0.0.1", daemon.https_port), 5) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as tls,
    ):
        return tls.selected_alpn_protocol()


def test_a_restart_wins_no_retry(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=1, tls_port=1) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        daemon.wait_for("failures=1")
        assert daemon.stop() == 0
        orders = pebble.orders()
        assert orders == 2  # one for each challenge type
        daemon.start()
        daemon.wait_for("listening")
        assert daemon.stop() == 0
        assert pebble.orders() == orders
        kept = states(daemon)[f"lineage {HOST} p256"]
        assert kept["state"] == "waiting"
        assert kept["failures"] == 1


@pytest.mark.parametrize("kind", ["tls-alpn-01", "http-01"])
def test_each_challenge_type_alone(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, kind: str) -> None:
    tls_port, http_port = (daemon.https_port, 1) if kind == "tls-alpn-01" else (1, daemon.http_port)
    with Pebble(tmp_path / "pebble", http_port=http_port, tls_port=tls_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        daemon.wait_for(f"challenge={kind}")
        assert daemon.stop() == 0
        assert states(daemon)[f"lineage {HOST} p256"]["worked"] == kind


def test_a_validator_and_a_browser_never_see_each_others_certificate(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):  # nothing is pending
            negotiated(daemon, pebble, ["acme-tls/1"])
        assert negotiated(daemon, pebble, ["acme-tls/1", "http/1.1"]) == "http/1.1"


def test_host_and_aliases_share_one_certificate(
    tmp_path: Path, make_daemon: Callable[[], DaemonProcess], upstream: Upstream
) -> None:
    daemon = make_daemon()
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        options = {"upstream": upstream.port, "aliases": ["two.example.test"], "certificate": "shared"}
        daemon.configure({HOST: options}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST, "two.example.test"], daemon=daemon)
        assert client.leaf(HOST) == client.leaf("two.example.test")
        names = x509.load_der_x509_certificate(client.leaf(HOST)).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        assert set(names.value.get_values_for_type(x509.DNSName)) == {HOST, "two.example.test"}
        assert pebble.orders() == 1


def test_the_next_ca_is_asked_when_the_first_cannot(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        second = {"server": pebble.url, "ca_bundle": str(pebble.bundle)}
        acme = {"server": "https://127.0.0.1:1/dir", "fallback": [second]}
        daemon.configure({HOST: upstream.port}, acme=acme)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        assert "https://127.0.0.1:1/dir" in daemon.log()


def test_an_unknown_profile_blocks_with_what_the_ca_offers(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "profile": "nowhere"}
        daemon.configure({HOST: upstream.port}, acme=acme)
        daemon.start()
        daemon.wait_for("has no profile 'nowhere'")
        assert "kind=refused" in daemon.log()
        assert pebble.orders() == 0
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.reload()  # a changed configuration ends the block
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)


def test_a_renewal_names_what_it_replaces(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(
        tmp_path / "pebble",
        http_port=daemon.http_port,
        tls_port=daemon.https_port,
        lifetime=timedelta(seconds=12),
    ) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        eventually(lambda: daemon.log().count("certificate issued") >= 3, what=daemon.log)
        assert daemon.stop() == 0
        rows = daemon.journal("SELECT fields FROM event WHERE kind = 'order started'")
        started = [json.loads(fields) for (fields,) in rows]
        assert "replaces" not in started[0]
        assert started[1]["replaces"]


def test_what_is_due_at_a_start_names_what_it_replaces(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    """It is ordered before the CA can be asked whether it tells windows."""
    hosts: dict[str, object] = {f"h{number}.example.test": upstream.port for number in range(3)}
    life = timedelta(seconds=40)
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port, lifetime=life) as pebble:
        daemon.configure(hosts, pebble=pebble)
        daemon.start()
        eventually(lambda: daemon.log().count("certificate issued") == 3, what=daemon.log)
        assert daemon.stop() == 0
        due = datetime.now(UTC) + life / 2
        eventually(lambda: datetime.now(UTC) > due)
        daemon.start()
        eventually(lambda: daemon.log().count("certificate issued") >= 6, what=daemon.log)
        assert daemon.stop() == 0
        rows = daemon.journal("SELECT fields FROM event WHERE kind = 'order started' ORDER BY id")
        started = [json.loads(fields) for (fields,) in rows]
        assert ["replaces" in one for one in started[:6]] == [False] * 3 + [True] * 3


def test_a_broken_journal_costs_history_and_no_certificate(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        leaf = client.leaf(HOST)
        assert daemon.stop() == 0
        (daemon.cache / "+proxyd" / "journal.sqlite3").write_bytes(b"garbage" * 1000)
        daemon.start()
        client.wait_for([HOST], daemon=daemon)
        assert client.leaf(HOST) == leaf
        assert pebble.orders() == 1
        assert "history begins anew" in daemon.log()


def test_names_that_are_grouped_otherwise_serve_on_and_are_ordered_at_once(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    names = ("one.example.test", "two.example.test")
    first, second = ({"upstream": upstream.port, "aliases": [alias]} for alias in reversed(names))
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({names[0]: {**first, "certificate": "shared"}}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for(names, daemon=daemon)
        leaf = client.leaf(names[0])
        assert daemon.stop() == 0
        nowhere = {"server": "https://127.0.0.1:1/dir"}
        grouped: list[dict[str, object]] = [
            {names[0]: first},
            {names[1]: {**second, "certificate": "shared"}},
            {names[1]: upstream.port},
        ]
        for hosts in grouped:
            daemon.configure(hosts, acme=nowhere)
            daemon.start()
            served = names if hosts != grouped[-1] else names[1:]
            client.wait_for(served, daemon=daemon)
            assert {client.leaf(name) for name in served} == {leaf}
            told = command(daemon, "explain", names[1]).out
            assert "No certificate of its own: one that covers two.example.test, too, serves until" in told
            assert daemon.stop() == 0
        assert pebble.orders() == 1
        daemon.configure({names[0]: first}, pebble=pebble)
        daemon.start()
        eventually(lambda: client.leaf(names[1]) != leaf, what=daemon.log)
        assert client.leaf(names[0]) == leaf
        assert pebble.orders() == 2
        assert daemon.stop() == 0
