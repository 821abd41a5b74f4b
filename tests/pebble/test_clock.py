"""A machine whose clock is wrong: said, nothing ordered by it, and nothing stops because of it."""

import random
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pebble.server import Pebble
from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.issuance.acme_transport import AcmeTransport
from tests.support.clock import FakeClock
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream
from tests.support.wrong_clock import put_on_wrong_machine, set_clock

HOST, LATE = "one.example.test", "late.example.test"
YEARS = timedelta(days=3650)
LIFE = timedelta(seconds=16)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (datetime.now(UTC) + timedelta(hours=5), "ahead of the CA's"),
        (datetime.now(UTC) + timedelta(days=3650), "ahead of the CA's"),
        (datetime(1970, 1, 1, tzinfo=UTC), "before this program was made"),
    ],
)
async def test_a_wrong_clock_is_said(tmp_path: Path, start: datetime, says: str) -> None:
    with Pebble(tmp_path, http_port=1) as pebble:
        transport = AcmeTransport(
            directory_url=pebble.url,
            tls=ssl.create_default_context(cafile=str(pebble.bundle)),
            clock=FakeClock(start),
            rng=random.Random(1),
        )
        try:
            with pytest.raises(IssuanceError, match=says) as caught:
                await transport.directory()
        finally:
            await transport.close()
    assert "timedatectl" in str(caught.value)
    assert caught.value.failure.kind is FailureKind.LOCAL


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_renewals_keep_their_pace_whatever_the_clock_says(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, jump: timedelta
) -> None:
    put_on_wrong_machine(daemon, timedelta(0))
    with Pebble(tmp_path / "p", http_port=daemon.http_port, tls_port=daemon.https_port, lifetime=LIFE) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())  # by the true time
        client.wait_for([HOST], daemon=daemon)
        set_clock(daemon, jump)
        daemon.wait_for("the clock is not believed")
        leaf, began = client.leaf(HOST), time.monotonic()
        eventually(lambda: client.leaf(HOST) != leaf, what=daemon.log)
        assert time.monotonic() - began < LIFE.total_seconds()
        assert pebble.orders() == 2
        told = command(daemon, "status", "--json")
        assert told.status == 1
        assert "jumped" in told.json["clock"]
        assert told.json["hosts"][HOST]["state"] == "ready"
        set_clock(daemon, timedelta(0))
        daemon.wait_for("the clock is believed again")
        leaf = client.leaf(HOST)
        eventually(lambda: client.leaf(HOST) != leaf, what=daemon.log)
        assert pebble.orders() == 3


@pytest.mark.parametrize(("jump", "says"), [(YEARS, "ended on"), (-YEARS, "before this program was made")])
def test_who_wakes_up_with_a_wrong_clock_serves_and_orders_when_it_is_right(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, jump: timedelta, says: str
) -> None:
    with Pebble(tmp_path / "p", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        leaf = client.leaf(HOST)
        assert daemon.stop() == 0
        put_on_wrong_machine(daemon, jump)
        daemon.configure({HOST: upstream.port, LATE: upstream.port}, pebble=pebble)
        daemon.forget_log()
        daemon.start()
        daemon.wait_for("the clock is not believed")
        assert says in daemon.log()
        if jump > timedelta(0):
            eventually(lambda: "ahead of the CA's" in command(daemon, "status", "--json").json["clock"])
        refused = command(daemon, "renew", HOST)
        assert refused.status == 2
        assert "timedatectl" in refused.err
        assert "Nothing is ordered until the clock is believed again" in command(daemon, "explain", LATE).out
        assert client.leaf(HOST) == leaf
        assert pebble.orders() == 1
        set_clock(daemon, timedelta(0))
        client.wait_for([LATE], daemon=daemon)
        assert client.leaf(HOST) == leaf
        assert pebble.orders() == 2
        assert command(daemon, "status", "--json").json["clock"] is None


def test_a_new_machine_whose_clock_is_five_hours_ahead_orders_when_it_is_right(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    put_on_wrong_machine(daemon, timedelta(hours=5))
    with Pebble(tmp_path / "p", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port, LATE: upstream.port}, pebble=pebble)
        daemon.start()
        daemon.wait_for("ahead of the CA's")
        daemon.wait_for("the clock is not believed")
        assert pebble.orders() == 0
        set_clock(daemon, timedelta(0))
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST, LATE], daemon=daemon)
        assert pebble.orders() == 2
