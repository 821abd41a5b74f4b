"""`proxyd plan`: what a reload would do, before it is done."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

ONE, TWO, NEW = "one.example.test", "two.example.test", "new.example.test"


def test_a_plan_changes_nothing_and_tells_all(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        acme = {
            "server": pebble.url,
            "ca_bundle": str(pebble.bundle),
            "limits": {"orders_per_3h": 3},
        }
        daemon.configure({ONE: upstream.port, TWO: upstream.port}, acme=acme)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([ONE, TWO], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        same = command(daemon, "plan", "--json").json
        assert (same["from"], same["added"], same["removed"], same["changed"]) == ("daemon", [], [], {})
        assert (same["options"], same["orders"], same["last"]) == ([], [], None)
        hosts = {ONE: {"upstream": upstream.port, "timeouts": {"connect": "9s"}}, NEW: 1, f"x.{NEW}": 2}
        daemon.configure(hosts, acme=acme, drain="5s")
        done = command(daemon, "plan", "--json")
        plan = done.json
        assert done.status == 0
        assert (plan["added"], plan["removed"]) == ([NEW, f"x.{NEW}"], [TWO])
        assert plan["changed"] == {ONE: ["timeouts"]}
        assert plan["options"] == ["drain"]
        assert {one["host"] for one in plan["orders"]} == {NEW, f"x.{NEW}"}
        assert plan["budget"][pebble.url]["orders"] == 2
        assert plan["budget"][pebble.url]["orders_left"] == 1
        assert plan["budget"][pebble.url]["domains"] == {"example.test": 2}
        first, last = sorted(one["not_before"] for one in plan["orders"])
        assert first < last == plan["last"]  # the second has to wait for the allowance
        text = command(daemon, "plan").out
        assert f"host added: {NEW}" in text
        assert "2 orders of 1 that it allows now" in text
        assert pebble.orders() == 2
        assert set(command(daemon, "status", "--json").json["hosts"]) == {ONE, TWO}  # nothing was applied
        assert daemon.stop() == 0
        down = command(daemon, "plan", "--json")
        assert (down.status, down.json["from"]) == (0, "cache")
        assert down.json["added"] == [NEW, f"x.{NEW}"]
        assert "compared with the cache" in down.err
        daemon.file.write_text("hosts: {a: b: c}")
        assert command(daemon, "plan").status == 2


def test_an_order_that_our_ceiling_refuses_is_planned_for_when_it_does_not(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({ONE: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([ONE], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        assert command(daemon, "renew", ONE).status == 0
        assert daemon.stop() == 0
        (daemon.cache / ONE).unlink()
        shutil.rmtree(daemon.cache / "+proxyd" / "generations")
        last = datetime.fromisoformat(command(daemon, "plan", "--json").json["last"])
        assert timedelta(hours=23) < last - datetime.now(UTC) < timedelta(hours=24)
