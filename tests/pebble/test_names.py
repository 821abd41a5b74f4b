"""A host waits because of its names: the mend is seen, and nothing is typed."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from socket import create_connection
from socketserver import BaseRequestHandler, ThreadingTCPServer

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import ROOT, DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

ELSEWHERE, UNKNOWN, CLOSED = "elsewhere.example.test", "unknown.example.test", "closed.example.test"
#: Looks are 30 s apart; what failed first is tried again after a minute anyway.
SECONDS = 45.0


def events(daemon: DaemonProcess, host: str, kind: str) -> list[dict[str, object]]:
    rows = daemon.journal("SELECT fields FROM event WHERE host = ? AND kind = ? ORDER BY id", host, kind)
    return [json.loads(fields) for (fields,) in rows]


class _Pass(BaseRequestHandler):
    """One connection to the daemon's port, as a firewall lets it through."""

    to = ("127.0.0.1", 0)

    def handle(self) -> None:
        with create_connection(self.to, 5) as inner:
            self.request.settimeout(5)
            inner.settimeout(5)
            back = threading.Thread(target=_copy, args=(inner, self.request))
            back.start()
            _copy(self.request, inner)
            back.join()


def _copy(source, target) -> None:  # type: ignore[no-untyped-def]
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass


@contextmanager
def port_opened(address: str, port: int) -> Iterator[None]:
    """Let connections to `address` reach the daemon's port of the same number."""
    handler = type("Pass", (_Pass,), {"to": ("127.0.0.1", port)})
    with ThreadingTCPServer((address, port), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_what_is_mended_in_dns_or_firewall_ends_the_wait(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    hosts: dict[str, object] = dict.fromkeys((ELSEWHERE, UNKNOWN, CLOSED), upstream.port)
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        pebble.set_dns("set-default-ipv4", ip="")
        pebble.set_dns("add-a", host=ELSEWHERE, addresses=["127.0.0.2"])
        pebble.set_dns("add-a", host=CLOSED, addresses=["127.0.0.3"])
        daemon.configure(hosts, pebble=pebble, resolvers=[pebble.dns])
        daemon.start()
        eventually(lambda: daemon.log().count("failures=1") == 2, what=daemon.log)
        daemon.wait_for("delayed=True")  # no address at all: the first order is put off
        assert events(daemon, UNKNOWN, "order started") == []
        eventually(lambda: events(daemon, ELSEWHERE, "dns seen"), what=daemon.log)
        eventually(lambda: events(daemon, CLOSED, "dns seen"), what=daemon.log)

        pebble.set_dns("clear-a", host=ELSEWHERE)
        pebble.set_dns("add-a", host=ELSEWHERE, addresses=["127.0.0.1"])
        pebble.set_dns("add-a", host=UNKNOWN, addresses=["127.0.0.1"])
        with port_opened("127.0.0.3", daemon.http_port):
            for host in hosts:
                eventually(
                    lambda host=host: events(daemon, host, "certificate issued"),  # type: ignore[misc]
                    what=daemon.log,
                    seconds=SECONDS,
                )
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for(hosts, daemon=daemon)
        for host, change in (
            (ELSEWHERE, f"addresses of {ELSEWHERE}: 127.0.0.2 -> 127.0.0.1"),
            (UNKNOWN, f"addresses of {UNKNOWN}: none -> 127.0.0.1"),
            (CLOSED, f"port 80 of {CLOSED}: nobody -> this server"),
        ):
            (woken,) = events(daemon, host, "names changed")
            assert change in str(woken["changes"])
        assert events(daemon, UNKNOWN, "order failed") == []


def test_a_name_without_addresses_is_told_as_such_whatever_the_ca_calls_it(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    """Pebble calls it "connection" or, of TLS-ALPN-01, "malformed", which elsewhere is trouble of the CA."""
    by = {"one.example.test": ("http-01", "connection"), "two.example.test": ("tls-alpn-01", "malformed")}
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        pebble.set_dns("set-default-ipv4", ip="")
        hosts: dict[str, object] = {
            host: {"upstream": upstream.port, "acme": {"challenges": [kind]}} for host, (kind, _) in by.items()
        }
        daemon.configure(hosts, pebble=pebble, resolvers=[pebble.dns])
        daemon.start()
        eventually(lambda: daemon.log().count("delayed=True") == 2, what=daemon.log)
        done = command(daemon, "renew", *by)  # before the minute that the first orders are put off
        assert done.status == 1
        for host, (kind, problem) in by.items():
            assert f"let the A and AAAA records of {host} point to this machine" in done.out
            eventually(partial(events, daemon, host, "order failed"), what=daemon.log)
            failed = events(daemon, host, "order failed")[0]
            assert (failed["kind"], failed["problem"], failed["challenge"]) == ("validation", problem, kind)
            eventually(partial(events, daemon, host, "dns seen"), what=daemon.log)
            told = command(daemon, "explain", host).out
            assert "The name has no address, as seen from here" in told
            assert "at once when its DNS changes" in told
            pebble.set_dns("add-a", host=host, addresses=["127.0.0.1"])
        for host in by:
            eventually(partial(events, daemon, host, "certificate issued"), what=daemon.log, seconds=SECONDS)
            assert f"addresses of {host}: none -> 127.0.0.1" in str(events(daemon, host, "names changed")[0])
        HttpsClient(daemon.https_port, pebble.root()).wait_for(by, daemon=daemon)


def states(daemon: DaemonProcess, prefix: str) -> dict[str, dict[str, object]]:
    rows = daemon.journal("SELECT name, document FROM state WHERE name LIKE ?", f"{prefix} %")
    return {name: json.loads(document) for name, document in rows}


def move(pebble: Pebble, host: str, address: str) -> None:
    pebble.set_dns("clear-a", host=host)
    pebble.set_dns("add-a", host=host, addresses=[address])


def test_a_limit_that_puts_the_next_order_off_hides_no_failure_and_ends_no_watching(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        pebble.set_dns("set-default-ipv4", ip="")
        move(pebble, ELSEWHERE, "127.0.0.2")
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "limits": {"orders_per_3h": 2}}
        daemon.configure({ELSEWHERE: upstream.port}, acme=acme, resolvers=[pebble.dns])
        daemon.start()
        daemon.wait_for("failures=1")  # both challenge types, an order for each
        assert "2 orders in 3 h" in command(daemon, "renew", ELSEWHERE).out
        row = command(daemon, "status", "--json").json["hosts"][ELSEWHERE]
        assert (row["state"], row["failures"]) == ("waiting", 1)
        assert "could not validate the name" in row["last_error"]
        told = command(daemon, "explain", ELSEWHERE).out
        assert "could not validate the name" in told
        assert "The CA would refuse by a limit, so it was not asked" in told
        eventually(lambda: events(daemon, ELSEWHERE, "dns seen"), what=daemon.log)
        move(pebble, ELSEWHERE, "127.0.0.1")
        eventually(lambda: events(daemon, ELSEWHERE, "names changed"), what=daemon.log, seconds=SECONDS)
        assert pebble.orders() == 2
        assert daemon.stop() == 0


def test_a_mend_while_the_daemon_was_stopped_is_noticed(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        move(pebble, ELSEWHERE, "127.0.0.2")
        pebble.set_dns("add-caa", host=ELSEWHERE, policies=[{"tag": "issue", "value": "other.example"}])
        daemon.configure({ELSEWHERE: upstream.port}, pebble=pebble, resolvers=[pebble.dns])
        daemon.start()
        eventually(lambda: states(daemon, "names"), what=daemon.log)
        assert daemon.stop() == 0
        move(pebble, ELSEWHERE, "127.0.0.1")
        pebble.set_dns("clear-caa", host=ELSEWHERE)
        daemon.start()
        eventually(lambda: events(daemon, ELSEWHERE, "certificate issued"), what=daemon.log, seconds=15)
        (changed,) = events(daemon, ELSEWHERE, "names changed")
        assert f"addresses of {ELSEWHERE}: 127.0.0.2 -> 127.0.0.1" in str(changed["changes"])
        assert f'CAA of {ELSEWHERE}: 0 issue "other.example" -> none' in str(changed["changes"])
        eventually(lambda: not states(daemon, "names"), what=daemon.log)


def test_a_fix_that_goes_back_to_the_old_address_ends_the_wait_though_port_80_is_not_seen(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    """Nothing but the DNS can tell that it is mended: the CA comes by TLS, and 127.0.0.2 was tried before."""
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        move(pebble, ELSEWHERE, "127.0.0.2")
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "challenges": ["tls-alpn-01"]}
        listen = {"https": f"127.0.0.1:{daemon.https_port}", "http": []}
        daemon.configure({ELSEWHERE: upstream.port}, acme=acme, listen=listen, resolvers=[pebble.dns])
        daemon.start(wait=False).wait_for("listening")
        eventually(lambda: states(daemon, "names"), what=daemon.log)
        assert daemon.stop() == 0
        move(pebble, ELSEWHERE, "127.0.0.3")
        daemon.start(wait=False)
        eventually(lambda: len(events(daemon, ELSEWHERE, "order failed")) == 2, what=daemon.log)
        move(pebble, ELSEWHERE, "127.0.0.2")
        with port_opened("127.0.0.2", daemon.https_port):
            eventually(lambda: events(daemon, ELSEWHERE, "certificate issued"), what=daemon.log, seconds=SECONDS + 30)
        away, back = (str(one["changes"]) for one in events(daemon, ELSEWHERE, "names changed"))
        assert f"addresses of {ELSEWHERE}: 127.0.0.2 -> 127.0.0.3" in away
        assert f"addresses of {ELSEWHERE}: 127.0.0.3 -> 127.0.0.2" in back
        HttpsClient(daemon.https_port, pebble.root()).wait_for([ELSEWHERE], daemon=daemon)


def test_a_host_that_left_is_dormant_and_wakes_when_its_dns_comes_back(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    host = "left.example.test"
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({host: upstream.port}, pebble=pebble, resolvers=[pebble.dns])
        daemon.start()
        eventually(lambda: states(daemon, "validated"), what=daemon.log)
        assert daemon.stop() == 0
        assert states(daemon, "validated")[f"validated {host}"]["addresses"] == ["127.0.0.1"]
        for file in (daemon.cache / host, *(daemon.cache / "+proxyd").rglob(f"*{host}*")):
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)
        move(pebble, host, "127.0.0.2")
        daemon.start()
        eventually(lambda: states(daemon, "names"), what=daemon.log)
        assert daemon.stop() == 0
        _age(daemon, timedelta(days=8))
        orders = pebble.orders()
        daemon.start()
        eventually(lambda: events(daemon, host, "dormant"), what=daemon.log)
        assert daemon.stop() == 0  # a restart forgets neither the state nor whose turn it is
        daemon.start()
        (left,) = events(daemon, host, "dormant")
        assert left["addresses"] == {host: ["127.0.0.2"]}
        assert left["validated"] == {host: ["127.0.0.1"]}
        assert states(daemon, "lineage")[f"lineage {host} p256"]["state"] == "dormant"
        assert pebble.orders() == orders

        move(pebble, host, "127.0.0.1")
        eventually(lambda: events(daemon, host, "woken"), what=daemon.log, seconds=SECONDS)
        HttpsClient(daemon.https_port, pebble.root()).wait_for([host], daemon=daemon)


def _age(daemon: DaemonProcess, by: timedelta) -> None:
    """Let the times of a failing host lie back, as if the daemon had failed for days."""
    for name, text in daemon.journal("SELECT name, document FROM state WHERE name LIKE 'names %'"):
        document = json.loads(text)
        for key in ("failing_since", "elsewhere_since"):
            document[key] = (datetime.fromisoformat(document[key]) - by).isoformat()
        daemon.journal("UPDATE state SET document = ? WHERE name = ?", json.dumps(document), name)


def check_online(daemon: DaemonProcess) -> str:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "proxyd", "check", "--online", "-c", str(daemon.file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_check_online_tells_what_the_world_sees_before_and_while_the_daemon_runs(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    host = "shop.example.test"
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        move(pebble, ELSEWHERE, "127.0.0.2")
        pebble.set_dns("set-default-ipv4", ip="")
        pebble.set_dns("add-a", host=host, addresses=["127.0.0.1"])
        pebble.set_dns("add-caa", host=host, policies=[{"tag": "issue", "value": "pebble.letsencrypt.org"}])
        pebble.set_dns("add-caa", host=ELSEWHERE, policies=[{"tag": "issue", "value": "other.example"}])
        hosts: dict[str, object] = dict.fromkeys((host, ELSEWHERE, UNKNOWN), upstream.port)
        daemon.configure(hosts, pebble=pebble, resolvers=[pebble.dns])
        told = check_online(daemon)
        assert "port 80: " not in told
        assert f"CA {pebble.url}: answers" in told
        assert "the directory will be made at the first start" in told
        assert not daemon.cache.exists()
        port, tls_port = daemon.http_port, daemon.https_port
        assert f"port {port} 127.0.0.1: this server answers" in told
        assert f"port {tls_port} 127.0.0.1: nobody answers (Connection refused)" in told
        assert f"port {port} 127.0.0.2: nobody answers (Connection refused)" in told
        assert f"look at   the DNS has no address for {UNKNOWN}" in told
        assert 'CAA       0 issue "pebble.letsencrypt.org": allows pebble.letsencrypt.org' in told
        assert 'CAA       0 issue "other.example": FORBIDS pebble.letsencrypt.org' in told
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([host], daemon=daemon)
        orders = pebble.orders()
        told = check_online(daemon)
        assert f"port {port} 127.0.0.1: this server answers" in told
        assert f"port {tls_port} 127.0.0.1: certificate for {host}, from CN=Pebble" in told
        assert pebble.orders() == orders


def test_another_server_on_the_port_is_not_taken_for_this_one(daemon: DaemonProcess, upstream: Upstream) -> None:
    with Upstream() as other:
        hosts: dict[str, object] = {"127.0.0.1": upstream.port}
        acme = {"server": "https://127.0.0.1:1/dir"}
        daemon.configure(hosts, acme=acme, listen={"https": [], "http": f"127.0.0.1:{other.port}"})
        told = check_online(daemon)
        assert "another program uses port" in told
        assert f"port {other.port} 127.0.0.1: another server answers (HTTP " in told
        assert "CA https://127.0.0.1:1/dir: the CA 127.0.0.1:1 cannot be reached" in told
