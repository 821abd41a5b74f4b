"""Two daemons on one cache: one orders, both serve, and the other goes on when the first ends."""

import signal
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pebble.server import Pebble
from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.daemon.system_clock import SystemClock
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from tests.support.ask import AskServer
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.processes import issuer
from tests.support.upstream import Upstream

HOSTS = ("one.example.test", "two.example.test")
LATE = "late.example.test"
MakeDaemon = Callable[[], DaemonProcess]


@pytest.fixture
def pair(make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch) -> tuple[DaemonProcess, DaemonProcess]:
    monkeypatch.setenv("PEBBLE_VA_ALWAYS_VALID", "1")  # the CA reaches one port only
    first, second = make_daemon(), make_daemon()
    second.cache = first.cache
    return first, second


def test_one_orders_both_serve_and_a_killed_one_is_followed(
    tmp_path: Path, pair: tuple[DaemonProcess, DaemonProcess], upstream: Upstream
) -> None:
    first, second = pair
    with Pebble(tmp_path / "pebble", http_port=1) as pebble:
        first.configure(dict.fromkeys(HOSTS, upstream.port), pebble=pebble)
        second.configure(
            dict.fromkeys((*HOSTS, LATE), upstream.port),
            pebble=pebble,
            admin={"socket": str(second.directory / "control.sock")},
        )
        first.start()
        second.start()
        ours, theirs = (HttpsClient(one.https_port, pebble.root()) for one in pair)
        ours.wait_for(HOSTS, daemon=first)
        theirs.wait_for(HOSTS, daemon=second)
        assert [ours.leaf(host) for host in HOSTS] == [theirs.leaf(host) for host in HOSTS]
        assert pebble.orders() == 2
        assert f"another proxyd (pid {issuer(first)} on" in second.log()
        assert second.log().count("another proxyd") == 1
        told = command(second, "explain", LATE).out
        assert "It is not this daemon's turn to order" in told
        assert "Nothing." in told.rpartition("What to do")[2]
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
        second.wait_for("orders certificates for the cache from now on", seconds=5)
        theirs.wait_for([LATE], daemon=second)
        assert pebble.orders() == 3
        first.start()  # and the other way round
        first.wait_for("another proxyd")
        assert [ours.leaf(host) for host in HOSTS] == [theirs.leaf(host) for host in HOSTS]
        assert pebble.orders() == 3


def test_a_renewal_is_picked_up_and_the_next_one_made_by_who_is_left(
    tmp_path: Path, pair: tuple[DaemonProcess, DaemonProcess], upstream: Upstream
) -> None:
    first, second = pair
    host = HOSTS[0]
    with Pebble(tmp_path / "pebble", http_port=1, lifetime=timedelta(seconds=40)) as pebble:
        for one in pair:
            one.configure({host: upstream.port}, pebble=pebble)
            one.start()
        ours, theirs = (HttpsClient(one.https_port, pebble.root()) for one in pair)
        ours.wait_for([host], daemon=first)
        leaf = ours.leaf(host)
        eventually(lambda: ours.leaf(host) != leaf, what=first.log, seconds=60)
        renewed = ours.leaf(host)
        eventually(lambda: theirs.leaf(host) == renewed, what=second.log, seconds=6)
        assert pebble.orders() == 2  # the next one is due in sixteen seconds or more
        assert first.stop() == 0
        second.wait_for("orders certificates for the cache from now on", seconds=5)
        eventually(lambda: theirs.leaf(host) != renewed, what=second.log, seconds=60)
        assert pebble.orders() == 3


def test_new_names_are_for_the_one_that_orders(
    tmp_path: Path, pair: tuple[DaemonProcess, DaemonProcess], upstream: Upstream
) -> None:
    first, second = pair
    name = "a.apps.example.test"
    with Pebble(tmp_path / "pebble", http_port=1) as pebble, AskServer(lambda _: 200) as ask:
        acme = {"on_demand": {"ask": ask.url, "max_new_per_day": 1}}
        hosts: dict[str, object] = {"*.apps.example.test": {"upstream": upstream.port, "acme": acme}}
        for one in pair:
            one.configure(hosts, pebble=pebble, admin={"socket": str(one.directory / "control.sock")})
            one.start()
        second.wait_for("another proxyd")
        theirs = HttpsClient(second.https_port, pebble.root())
        with pytest.raises(ssl.SSLError):
            theirs.leaf(name)
        assert ask.asked == []
        told = command(second, "explain", name).out
        assert "this daemon does not order (another proxyd" in " ".join(told.split())
        assert first.stop() == 0
        second.wait_for("orders certificates for the cache from now on", seconds=5)
        theirs.wait_for([name], daemon=second)
        assert pebble.orders() == 1


def test_what_a_killed_one_began_to_revoke_is_ended_by_who_is_left(
    tmp_path: Path, pair: tuple[DaemonProcess, DaemonProcess], upstream: Upstream
) -> None:
    first, second = pair
    clock, host = SystemClock(), Hostname(HOSTS[0])
    store = CertificateStore(DirectoryStore(first.cache, clock=clock), clock=clock)
    with Pebble(tmp_path / "pebble", http_port=1) as pebble:
        for one in pair:
            one.configure({host.text: upstream.port}, pebble=pebble)
            one.start()
        theirs = HttpsClient(second.https_port, pebble.root())
        theirs.wait_for([host.text], daemon=second)
        stolen = Certificate.parse((first.cache / host.text).read_bytes())
        store.intend(host, stolen, "revoking: keyCompromise", 1)  # what it writes before it asks the CA
        first.stop(signal.SIGKILL)
        eventually(lambda: pebble.status_of(f"{stolen.serial:x}")[0] == "Revoked", what=second.log)
        eventually(lambda: theirs.leaf(host.text) != stolen.leaf, what=second.log)
        assert store.intended() == []


def test_a_new_account_key_is_known_to_who_takes_over_and_given_by_nobody_else(
    tmp_path: Path, pair: tuple[DaemonProcess, DaemonProcess], upstream: Upstream
) -> None:
    first, second = pair
    with Pebble(tmp_path / "pebble", http_port=1) as pebble:
        sockets = [{"socket": str(one.directory / "control.sock")} for one in pair]
        for one, socket in zip(pair, sockets, strict=True):
            one.configure(dict.fromkeys(HOSTS, upstream.port), pebble=pebble, admin=socket)
            one.start()
        theirs = HttpsClient(second.https_port, pebble.root())
        theirs.wait_for(HOSTS, daemon=second)
        assert command(second, "account", "show").status == 0  # it knows the old key
        for what in (["account", "rotate-key"], ["revoke", HOSTS[0], "--reason", "keyCompromise", "--now"]):
            refused = command(second, *what)
            assert refused.status == 1
            assert "may not order: another proxyd" in refused.err
        assert command(first, "account", "rotate-key").status == 0
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
        second.wait_for("orders certificates for the cache from now on", seconds=5)
        second.configure(dict.fromkeys((*HOSTS, LATE), upstream.port), pebble=pebble, admin=sockets[1])
        second.reload()
        theirs.wait_for([LATE], daemon=second)


def test_a_key_that_another_program_replaced_is_read_again(
    tmp_path: Path, pair: tuple[DaemonProcess, DaemonProcess], upstream: Upstream
) -> None:
    first, second = pair
    second.cache = second.directory / "cache of its own"
    name = "acme_account+key"
    with Pebble(tmp_path / "pebble", http_port=1) as pebble:
        first.configure({HOSTS[0]: upstream.port}, pebble=pebble)
        first.start()
        client = HttpsClient(first.https_port, pebble.root())
        client.wait_for(HOSTS[:1], daemon=first)
        second.cache.mkdir()
        (second.cache / name).write_bytes((first.cache / name).read_bytes())
        second.configure({HOSTS[1]: upstream.port}, pebble=pebble)
        second.start()
        HttpsClient(second.https_port, pebble.root()).wait_for(HOSTS[1:], daemon=second)
        eventually(lambda: command(second, "account", "rotate-key").status == 0)
        (first.cache / name).write_bytes((second.cache / name).read_bytes())
        assert command(first, "renew", HOSTS[0]).status == 0  # at the second try, without `replaces`
