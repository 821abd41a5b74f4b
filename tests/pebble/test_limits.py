"""What a CA with known limits is spared: wishes for all are spread, and what waits is recorded once."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.fake_ca import FakeCa
from tests.support.upstream import Upstream

HOSTS = [f"host{number}.example.test" for number in range(8)]


def acme(ca: FakeCa, orders: int) -> dict[str, object]:
    return {"server": ca.url, "ca_bundle": str(ca.bundle), "limits": {"orders_per_3h": orders}}


def events(daemon: DaemonProcess, kind: str) -> list[tuple[str, dict[str, object]]]:
    rows = daemon.journal("SELECT host, fields FROM event WHERE kind = ?", kind)
    return [(host, json.loads(fields)) for host, fields in rows]


def test_a_wish_for_all_spends_half_of_what_is_left_at_once(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        daemon.configure(dict.fromkeys(HOSTS, upstream.port), acme=acme(ca, 20))
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for(HOSTS, daemon=daemon)
        before = {host: client.leaf(host) for host in HOSTS}
        assert ca.orders() == 8
        asked = datetime.now(UTC)
        done = command(daemon, "renew", "--all", "--json")  # 12 orders are left
        assert (done.json["count"], done.json["at_once"]) == (8, 6)
        late = datetime.fromisoformat(done.json["last"]) - asked
        assert timedelta(minutes=17.5) < late < timedelta(minutes=18.5)  # one comes back each 9 minutes

        def changed() -> int:
            return sum(client.leaf(host) != before[host] for host in HOSTS)

        eventually(lambda: changed() == 6, what=daemon.log)
        assert daemon.stop() == 0
        assert ca.orders() == 14
        assert len(events(daemon, "order started")) == 14


def test_an_order_that_waits_for_the_limit_is_recorded_once(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        daemon.configure(dict.fromkeys(HOSTS[:3], upstream.port), acme=acme(ca, 2))
        daemon.start()
        eventually(lambda: ca.asked["certificate"] == 2, what=daemon.log)
        eventually(lambda: len(events(daemon, "postponed")) == 1, what=daemon.log)
        ((host, fields),) = events(daemon, "postponed")
        assert "2 orders in 3 h" in str(fields["reason"])
        for _ in range(3):  # each is put off at once
            done = command(daemon, "renew", host)
            assert done.status == 1
            assert "2 orders in 3 h" in done.out
        assert daemon.stop() == 0
        assert len(events(daemon, "renewal wished")) == 3
        assert len(events(daemon, "postponed")) == 1
        assert ca.orders() == 2


def test_limits_that_a_reload_changes_hold_at_once(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:

        def change(hosts: int, limits: dict[str, int] | None) -> None:
            daemon.forget_log()
            of_ca = {"server": ca.url, "ca_bundle": str(ca.bundle), "limits": limits}
            daemon.configure(dict.fromkeys(HOSTS[:hosts], upstream.port), acme=of_ca)
            daemon.reload()
            daemon.wait_for("reloaded")

        def budget() -> object:
            (left,) = command(daemon, "status", "--json").json["budget"].values()
            return left["orders_left"], left["orders_limit"]

        daemon.configure({HOSTS[0]: upstream.port}, pebble=ca)
        daemon.start()
        HttpsClient(daemon.https_port, ca.root()).wait_for(HOSTS[:1], daemon=daemon)
        assert budget() == (None, None)
        change(4, {"orders_per_3h": 2})  # what was spent before is not known: half
        eventually(lambda: ca.asked["certificate"] == 2, what=daemon.log)
        eventually(lambda: {host for host, _ in events(daemon, "postponed")} == {*HOSTS[2:4]}, what=daemon.log)
        assert budget() == (0, 2)
        change(4, {"orders_per_3h": 8})  # two were spent, and those who wait look again
        HttpsClient(daemon.https_port, ca.root()).wait_for(HOSTS[:4], daemon=daemon)
        assert budget() == (4, 8)
        assert daemon.stop() == 0
        daemon.start()
        assert budget() == (4, 8)
        change(4, None)
        assert budget() == (None, None)
        assert ca.orders() == 4
        assert daemon.stop() == 0


def test_a_lost_journal_leaves_half_of_the_budget(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    def orders_left() -> int:
        (left,) = [one["orders_left"] for one in command(daemon, "status", "--json").json["budget"].values()]
        return int(left)

    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        daemon.configure(dict.fromkeys(HOSTS[:3], upstream.port), acme=acme(ca, 20))
        assert orders_left() == 20
        daemon.start()
        HttpsClient(daemon.https_port, ca.root()).wait_for(HOSTS[:3], daemon=daemon)
        assert orders_left() == 17
        assert daemon.stop() == 0
        for part in (daemon.cache / "+proxyd").glob("journal.*"):
            part.unlink()
        assert orders_left() == 10
        daemon.start()
        assert orders_left() == 10
        assert daemon.stop() == 0
