"""`proxyd check --staging` and `--json`: the proof with a real CA, and what scripts read."""

import socket
from pathlib import Path

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess
from tests.support.receiver import receiver
from tests.support.tls_listener import silence
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"


def test_names_are_proved_before_the_first_start(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        hosts = {HOST: {"upstream": upstream.port, "aliases": [OTHER], "certificate": "shared"}}
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "on_demand": {}}
        daemon.configure({**hosts, "*.shop.example.test": upstream.port}, acme=acme)
        done = command(daemon, "check", "--staging")
        assert done.status == 1, done.out + done.err  # the wildcard host cannot be
        assert f"{HOST}: proved, {pebble.url} gave a certificate" in done.out
        assert "*.shop.example.test: not proved: its names get their certificates when a client asks" in done.out
        assert not daemon.cache.exists()
        daemon.configure(dict(hosts), acme=acme)
        done = command(daemon, "check", "--staging", "--json")
        assert done.status == 0, done.out + done.err
        assert done.json["staging"]["proved"] is True
        assert {name: one["proved"] for name, one in done.json["staging"]["hosts"].items()} == {HOST: True, OTHER: True}
        assert pebble.orders() == 2
        with socket.create_server(("127.0.0.1", daemon.https_port)):
            done = command(daemon, "check", "--staging")
        assert done.status == 1
        assert "the proof could not begin: listen.https: " in done.err


def test_a_proof_hands_nothing_over_and_tells_nobody(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    place, told = tmp_path / "tls", tmp_path / "told"
    hooks = {"export": {"dir": str(place)}, "on_renew": ["/usr/bin/touch", str(told)]}
    with (
        Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble,
        receiver() as server,
    ):
        hosts: dict[str, object] = {HOST: {"upstream": upstream.port, **hooks}}
        daemon.configure(hosts, pebble=pebble, alerts=[{"webhook": server.url}, {"heartbeat": server.url}])
        done = command(daemon, "check", "--staging")
        assert done.status == 0, done.out + done.err
    assert not place.exists()
    assert not told.exists()
    assert not server.received


def test_what_is_not_proved_is_said_with_the_next_step(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=1, tls_port=1) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        done = command(daemon, "check", "--staging")
        assert done.status == 1
        assert f"{HOST}: NOT proved: " in done.out
        assert "what to do: Let " in done.out
        assert f" of {HOST} point to this machine" in done.out


def test_a_ca_without_a_test_server_is_left_out(daemon: DaemonProcess, upstream: Upstream) -> None:
    daemon.configure({"one.example.com": upstream.port}, acme={"server": "zerossl"})
    done = command(daemon, "check", "--staging", "--json")
    assert done.status == 1
    assert done.json["staging"]["hosts"]["one.example.com"]["why"] == "zerossl has no staging server"
    assert "warning: zerossl makes no account without eab" in done.json["warnings"][0]


def test_looks_and_mistakes_as_json(daemon: DaemonProcess, upstream: Upstream) -> None:
    with silence() as (_, port):  # a CA that hangs
        server = f"https://127.0.0.1:{port}/dir"
        daemon.configure({"127.0.0.1": upstream.port}, acme={"server": server})
        done = command(daemon, "check", "--online", "--json")
    assert done.status == 0
    assert f"CA {server}: no answer yet" in done.err
    assert done.json["online"]["cas"] == {server: "no answer within 10 s"}
    looked = done.json["online"]["hosts"]["127.0.0.1"]
    assert looked["addresses"] == ["127.0.0.1"]
    assert looked["http"][0]["port"] == daemon.http_port
    daemon.file.write_text("hosts:\n  example.com: foo\n")
    done = command(daemon, "check", "--json")
    assert (done.status, done.json["ok"]) == (2, False)
    assert (done.json["mistakes"][0]["line"], done.json["mistakes"][0]["key"]) == (2, "hosts.example.com")
