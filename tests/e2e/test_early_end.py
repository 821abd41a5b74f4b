"""A CA that gives less than what serves: a certificate that would end before it is not used without a reason."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from proxyd.certs.certificate import Certificate
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient
from tests.support.fake_ca import FakeCa
from tests.support.upstream import Upstream

HOST = "one.example.test"
DAY = timedelta(days=1)


@pytest.fixture
def ca(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> Iterator[FakeCa]:
    """Give a first certificate of 90 days."""
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as one:
        daemon.configure({HOST: upstream.port}, acme={"server": one.url, "ca_bundle": str(one.bundle)})
        daemon.start()
        HttpsClient(daemon.https_port, one.root()).wait_for([HOST], daemon=daemon)
        daemon.wait_for("certificate issued")
        yield one
        daemon.stop()  # no connection of it outlives the CA


def days_left(daemon: DaemonProcess, ca: FakeCa) -> float:
    """Return what is left of the one that serves, which is the one in the cache."""
    kept = Certificate.parse((daemon.cache / HOST).read_bytes())
    assert HttpsClient(daemon.https_port, ca.root()).leaf(HOST) == kept.leaf
    return (kept.not_after - kept.not_before) / DAY


def test_an_earlier_end_without_a_reason_is_not_used(daemon: DaemonProcess, ca: FakeCa) -> None:
    ca.lifetime = 85 * DAY
    done = command(daemon, "renew", HOST)
    assert done.status != 0
    assert "ends before the one that serves" in done.out + done.err
    assert days_left(daemon, ca) == 90
    row = command(daemon, "status", "--json").json["hosts"][HOST]
    assert row["state"] == "waiting"
    assert row["failures"] == 1
    assert "ends before the one that serves" in row["last_error"]
    assert daemon.stop() == 0  # nor is it found by the next start
    daemon.forget_log()
    daemon.start()
    assert days_left(daemon, ca) == 90


def test_shorter_lives_are_the_policy_of_the_ca(daemon: DaemonProcess, ca: FakeCa) -> None:
    ca.lifetime = 45 * DAY
    assert command(daemon, "renew", HOST).status == 0
    assert days_left(daemon, ca) == 45


def test_a_person_may_want_it_all_the_same(daemon: DaemonProcess, ca: FakeCa) -> None:
    ca.lifetime = 85 * DAY
    assert command(daemon, "renew", "--force", HOST).status == 0
    assert days_left(daemon, ca) == 85
