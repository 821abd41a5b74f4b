"""The daemon is killed at each step of an order; the next start goes on with it, and the CA is asked for no other."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer, problem
from tests.support.upstream import Upstream

HOST = "one.example.test"
_LIMITS = {"orders_per_3h": 100, "failures_per_hour": 6}  # given back after 108 s, 10 min


@pytest.fixture
def ca(tmp_path: Path, daemon: DaemonProcess) -> Iterator[FakeCa]:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as one:
        yield one


def hold(ca: FakeCa, step: str) -> threading.Event:
    """Let the CA do a step, but not say so; the event is set when it has been done."""
    done = threading.Event()

    def script(answer: Answer) -> Answer:
        done.set()
        answer.delay = 20
        return answer

    ca.script[step] = script
    return done


def configure(daemon: DaemonProcess, ca: FakeCa, upstream: Upstream, *hosts: str) -> None:
    acme = {"server": ca.url, "ca_bundle": str(ca.bundle), "limits": _LIMITS}
    daemon.configure(dict.fromkeys(hosts or (HOST,), upstream.port), acme=acme)


def spent(daemon: DaemonProcess, ca: FakeCa, bucket: str, refill: timedelta) -> float:
    rows = daemon.journal("SELECT document FROM state WHERE name = ?", f"ca {ca.url} ledger {bucket}")
    kept = json.loads(rows[0][0])["at"] if rows else None
    return (datetime.fromisoformat(kept) - datetime.now(UTC)) / refill if kept else 0.0


def orders_spent(daemon: DaemonProcess, ca: FakeCa) -> float:
    return spent(daemon, ca, "orders account", timedelta(seconds=108))


def failures_spent(daemon: DaemonProcess, ca: FakeCa) -> float:
    return spent(daemon, ca, f"failures {HOST}", timedelta(minutes=10))


@pytest.mark.parametrize("step", ["authorization", "challenge", "finalize", "certificate"])
def test_a_kill_at_each_step_costs_no_second_order(
    daemon: DaemonProcess, upstream: Upstream, ca: FakeCa, step: str
) -> None:
    done = hold(ca, step)
    configure(daemon, ca, upstream)
    daemon.start()
    assert done.wait(20)
    eventually(lambda: step != "challenge" or ca.validated)  # its validator must have come before the kill
    (kept,) = (daemon.cache / "+proxyd" / "orders").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    eventually(lambda: orders_spent(daemon, ca) > 0)  # written in batches
    before = orders_spent(daemon, ca)
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    ca.script.clear()
    daemon.start()
    HttpsClient(daemon.https_port, ca.root()).wait_for([HOST], daemon=daemon)
    daemon.wait_for("certificate issued")
    eventually(lambda: not kept.exists())
    assert ca.orders() == 1
    assert daemon.stop() == 0
    assert before - 1 < orders_spent(daemon, ca) <= before
    assert "order resumed" in events(daemon)


def events(daemon: DaemonProcess) -> list[str]:
    return [kind for (kind,) in daemon.journal("SELECT kind FROM event ORDER BY id")]


def test_a_kill_before_the_ca_said_that_it_took_the_order(
    daemon: DaemonProcess, upstream: Upstream, ca: FakeCa
) -> None:
    done = hold(ca, "order")
    configure(daemon, ca, upstream)
    daemon.start()
    assert done.wait(20)
    daemon.stop(signal.SIGKILL)
    ca.script.clear()
    daemon.start()
    HttpsClient(daemon.https_port, ca.root()).wait_for([HOST], daemon=daemon)
    assert ca.orders() == 2


def test_a_kill_just_after_the_certificate_was_saved_does_not_lose_its_ca(
    daemon: DaemonProcess, upstream: Upstream, ca: FakeCa
) -> None:
    """The disk as it is then: the certificate and its order are there, and the journal says nothing of them yet."""
    done = hold(ca, "certificate")
    configure(daemon, ca, upstream)
    daemon.start()
    assert done.wait(20)
    (order,) = (daemon.cache / "+proxyd" / "orders").iterdir()
    content = order.read_bytes()
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    ca.script.clear()
    daemon.start()
    daemon.wait_for("certificate issued")
    assert daemon.stop() == 0
    whole = held(daemon)
    daemon.journal("DELETE FROM state WHERE name LIKE 'held %'")
    order.write_bytes(content)
    daemon.start()
    eventually(lambda: not order.exists(), what=daemon.log)
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    assert held(daemon) == whole
    assert whole[0]["issuer"] == ca.url
    assert ca.orders() == 1


def held(daemon: DaemonProcess) -> list[dict[str, Any]]:
    return [json.loads(text) for (text,) in daemon.journal("SELECT document FROM state WHERE name LIKE 'held %'")]


def test_what_cannot_go_on_is_forgotten_and_ordered_anew(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as first:
        done = hold(first, "finalize")
        configure(daemon, first, upstream)
        daemon.start()
        assert done.wait(20)
        daemon.stop(signal.SIGKILL)
        port = int(first.base.rpartition(":")[2])
    orders = daemon.cache / "+proxyd" / "orders"
    (orders / "broken.json").write_text('{"issuer": 7, "key": [[[')
    (orders / "directory.json").mkdir()
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port, port=port) as again:
        daemon.start()  # the CA lost everything: neither account nor order is known
        HttpsClient(daemon.https_port, again.root()).wait_for([HOST], daemon=daemon)
        daemon.wait_for("certificate issued")
        assert again.orders() == 1
        eventually(lambda: [one.name for one in orders.iterdir()] in ([], ["directory.json"]))


def test_a_host_taken_out_meanwhile_leaves_nothing_pending(
    daemon: DaemonProcess, upstream: Upstream, ca: FakeCa
) -> None:
    done = hold(ca, "authorization")
    configure(daemon, ca, upstream)
    daemon.start()
    assert done.wait(20)
    daemon.stop(signal.SIGKILL)
    ca.script.clear()
    configure(daemon, ca, upstream, "two.example.test")
    daemon.start()
    eventually(lambda: ca.deactivated, what=daemon.log)
    eventually(lambda: not list((daemon.cache / "+proxyd" / "orders").iterdir()), what=daemon.log)


def test_a_stop_gives_up_what_is_not_proved_and_keeps_what_is(
    make_daemon: Callable[[], DaemonProcess], tmp_path: Path, upstream: Upstream
) -> None:
    daemon = make_daemon()
    with FakeCa(tmp_path / "ca", http_port=1, tls_port=daemon.https_port) as ca:
        ca.instead["challenge"] = lambda: Answer(json={"status": "processing"})
        configure(daemon, ca, upstream)
        daemon.start()
        eventually(lambda: ca.asked["challenge"])
        assert daemon.stop() == 0
        assert len(ca.deactivated) == 1
        assert not list((daemon.cache / "+proxyd" / "orders").iterdir())
        ca.instead.clear()
        done = hold(ca, "finalize")
        daemon.start()
        assert done.wait(20)
        assert daemon.stop() == 0
        ca.script.clear()
        placed = ca.orders()
        daemon.start()
        HttpsClient(daemon.https_port, ca.root()).wait_for([HOST], daemon=daemon)
        assert ca.orders() == placed


def test_one_hosts_trouble_with_the_ca_stays_its_own(daemon: DaemonProcess, upstream: Upstream, ca: FakeCa) -> None:
    good = [f"good{number}.example.test" for number in range(6)]

    def bend(answer: Answer) -> Answer:
        name = answer.json.get("identifier", {}).get("value", "")
        if name == "token.example.test":
            answer.json = {**answer.json, "challenges": [{**one, "token": "../x"} for one in answer.json["challenges"]]}
        elif name == "html.example.test":
            answer.body = b"<html>" * 10_000
        elif name == "slow.example.test":
            answer.delay = 15
        return answer

    def refuse(answer: Answer) -> Answer:
        names = [one["value"] for one in (answer.json or {}).get("identifiers", [])]
        if names == ["limit.example.test"]:
            answer.status, answer.headers["Retry-After"] = 429, "86400"
            answer.json = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many failed authorizations"}
        return answer

    ca.script["authorization"], ca.script["order"] = bend, refuse
    bad = ("limit.example.test", "token.example.test", "html.example.test", "slow.example.test")
    configure(daemon, ca, upstream, *bad, *good)
    daemon.start()
    HttpsClient(daemon.https_port, ca.root()).wait_for(good, daemon=daemon)
    daemon.wait_for("challenge token that is none")
    lines = [line for line in daemon.log().splitlines() if "no certificate" in line]
    assert any("limit.example.test" in line and 'kind="rate limited"' in line for line in lines), lines
    assert not any(name in line for line in lines for name in good)
    assert max(len(line) for line in daemon.log().splitlines()) < 5000
    assert ca.orders() <= len(bad) * 2 + len(good)


def test_a_refused_account_is_not_asked_for_again_by_a_restart(
    daemon: DaemonProcess, upstream: Upstream, ca: FakeCa
) -> None:
    """Neither by the hosts that were refused nor by one that is new; the changed account is, at once."""

    def next_tries() -> list[datetime]:
        hosts = command(daemon, "status", "--json").json["hosts"].values()
        return [datetime.fromisoformat(one["next_try"]) for one in hosts if one["next_try"]]

    ca.script["account"] = lambda _: problem("externalAccountRequired", 401)
    hosts = [f"host{number}.example.test" for number in range(6)]
    configure(daemon, ca, upstream, *hosts)
    daemon.start()
    eventually(lambda: len(next_tries()) == 6, what=daemon.log)
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    asked = ca.asked["account"]
    for number in range(2):
        hosts.append(f"new{number}.example.test")
        configure(daemon, ca, upstream, *hosts)
        daemon.start()
        eventually(lambda: len(next_tries()) == len(hosts), what=daemon.log)
        assert min(next_tries()) > datetime.now(UTC) + timedelta(minutes=40)
        assert daemon.stop() == 0
    assert ca.asked["account"] == asked
    ca.script.clear()
    acme = {"server": ca.url, "ca_bundle": str(ca.bundle), "email": "me@example.org"}
    daemon.configure(dict.fromkeys(hosts, upstream.port), acme=acme)
    daemon.start()
    HttpsClient(daemon.https_port, ca.root()).wait_for(hosts, daemon=daemon)


@pytest.mark.parametrize("step", ["order", "authorization", "challenge"])
def test_a_kill_in_the_middle_of_an_order_that_fails_wins_nothing(
    make_daemon: Callable[[], DaemonProcess], tmp_path: Path, upstream: Upstream, step: str
) -> None:
    """Neither a retry nor what was spent: the schedule goes on where it was, and the order counts."""
    daemon = make_daemon()

    def row() -> dict[str, Any]:
        found: dict[str, Any] = command(daemon, "status", "--json").json["hosts"][HOST]
        return found

    def wait() -> timedelta:
        return datetime.fromisoformat(row()["next_try"]) - datetime.now(UTC)

    with FakeCa(tmp_path / "ca") as ca:  # which reaches nobody
        configure(daemon, ca, upstream)
        daemon.start()
        eventually(lambda: row()["failures"] == 1, what=daemon.log)
        assert command(daemon, "renew", HOST).status == 1
        assert row()["failures"] == 2
        failed, placed = failures_spent(daemon, ca), ca.orders()
        done = hold(ca, step)
        asking = threading.Thread(target=lambda: command(daemon, "renew", HOST))
        asking.start()
        assert done.wait(20)
        before = orders_spent(daemon, ca)
        assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
        asking.join()
        ca.script.clear()
        daemon.start()
        if step == "order":  # the CA has one of which we do not know
            eventually(lambda: row()["state"] == "waiting", what=daemon.log)
            assert (row()["failures"], ca.orders()) == (2, placed + 1)
            assert timedelta(minutes=5) < wait() < timedelta(minutes=11)
        else:
            eventually(lambda: row()["failures"] == 3, what=daemon.log)
            assert ca.orders() == placed + 1
            assert timedelta(minutes=85) < wait() < timedelta(minutes=110)
        assert daemon.stop() == 0
        assert before - 1 < orders_spent(daemon, ca) <= before
        assert failures_spent(daemon, ca) > failed - 0.5 + (step != "order")
