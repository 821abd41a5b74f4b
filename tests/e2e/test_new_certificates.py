"""A new certificate is what every worker shows within a second, on whatever disk; validators are answered by any."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.disk import ClosedDisk
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer
from tests.support.processes import issuer, replaced, workers
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"
#: So many connections that each of three workers gets one, but for once in a hundred thousand times.
MANY = 30


@pytest.fixture
def ca(tmp_path: Path, daemon: DaemonProcess) -> Iterator[FakeCa]:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as one:
        yield one


@pytest.fixture
def client(daemon: DaemonProcess, upstream: Upstream, ca: FakeCa) -> Iterator[HttpsClient]:
    daemon.configure({HOST: upstream.port}, pebble=ca, workers=3)
    daemon.start(prepare=ClosedDisk(daemon.cache).prepare)
    found = HttpsClient(daemon.https_port, ca.root())
    found.wait_for([HOST], daemon=daemon)
    yield found
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def shown(client: HttpsClient, host: str = HOST) -> set[bytes]:
    return {client.leaf(host) for _ in range(MANY)}


def test_a_renewed_certificate_is_shown_by_all_within_a_second(daemon: DaemonProcess, client: HttpsClient) -> None:
    (before,) = shown(client)
    daemon.forget_log()
    assert command(daemon, "renew", HOST).status == 0
    daemon.wait_for("certificate issued")
    time.sleep(1)
    (after,) = shown(client)
    assert after != before


def test_what_the_disk_could_not_keep_is_shown_by_all_and_by_a_worker_that_comes_later(
    daemon: DaemonProcess, client: HttpsClient, ca: FakeCa
) -> None:
    (before,) = shown(client)
    disk = ClosedDisk(daemon.cache)

    def fill(answer: Answer) -> Answer:
        disk.fill()
        return answer

    ca.script["certificate"] = fill
    with contextlib.ExitStack() as stack:
        stack.callback(disk.free)
        command(daemon, "renew", HOST)
        daemon.wait_for("the new certificate serves, but could not be kept")
        (after,) = shown(client)
        assert after != before
        replaced(daemon, workers(daemon)[0])
        assert shown(client) == {after}


def test_a_new_host_is_validated_and_served_while_a_worker_is_frozen(
    daemon: DaemonProcess, client: HttpsClient, ca: FakeCa, upstream: Upstream
) -> None:
    os.kill(workers(daemon)[0], signal.SIGSTOP)
    daemon.configure({HOST: upstream.port, OTHER: upstream.port}, pebble=ca, workers=3)
    daemon.reload()
    client.wait_for([OTHER], daemon=daemon)
    eventually(lambda: len(workers(daemon)) == 3, what=daemon.log)
    assert len(shown(client, OTHER)) == 1


@pytest.mark.parametrize("step", ["challenge", "finalize", "certificate"])
def test_an_order_goes_on_when_who_placed_it_is_killed(
    daemon: DaemonProcess, client: HttpsClient, ca: FakeCa, upstream: Upstream, step: str
) -> None:
    before = ca.orders()

    def kill(answer: Answer) -> Answer:
        ca.script.clear()
        os.kill(issuer(daemon), signal.SIGKILL)
        return answer

    ca.script[step] = kill
    daemon.configure({HOST: upstream.port, OTHER: upstream.port}, pebble=ca, workers=3)
    daemon.reload()
    client.wait_for([OTHER], daemon=daemon)
    assert len(shown(client, OTHER)) == 1
    assert ca.orders() == before + 1
    assert "killed by SIGKILL" in daemon.log()
