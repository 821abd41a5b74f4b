"""A Go program that uses autocert.DirCache and proxyd take turns on one cache directory."""

import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pebble.server import Pebble
from tests.support.autocert import AutocertProcess
from tests.support.daemon import DaemonProcess, HttpsClient
from tests.support.upstream import Upstream

HOST, OTHER = "go.example.test", "ours.example.test"
MakePebble = Callable[..., Pebble]


@pytest.fixture
def make_pebble(tmp_path: Path, daemon: DaemonProcess) -> Iterator[MakePebble]:
    running: list[Pebble] = []

    def make(**options: timedelta) -> Pebble:
        ports = {"http_port": daemon.http_port, "tls_port": daemon.https_port}
        running.append(Pebble(tmp_path / "pebble", **ports, **options))  # type: ignore[arg-type]
        running[-1].start()
        return running[-1]

    yield make
    for one in running:
        one.stop()


def obtained_by_go(daemon: DaemonProcess, pebble: Pebble, *hosts: str) -> dict[str, bytes]:
    with AutocertProcess(daemon, pebble, *hosts):
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for(hosts, daemon=daemon)
        return {host: client.leaf(host) for host in hosts}


def accounts(pebble: Pebble) -> int:
    return pebble.log.read_text(errors="replace").count("accounts in memory")


def test_proxyd_serves_and_renews_what_go_obtained_and_go_serves_that(
    make_pebble: MakePebble, daemon: DaemonProcess, upstream: Upstream
) -> None:
    pebble = make_pebble(lifetime=timedelta(seconds=24))
    leaf = obtained_by_go(daemon, pebble, HOST)[HOST]
    key = (daemon.cache / "acme_account+key").read_bytes()
    orders = pebble.orders()

    daemon.configure({HOST: upstream.port}, pebble=pebble)
    daemon.start()
    client = HttpsClient(daemon.https_port, pebble.root())
    assert client.leaf(HOST) == leaf
    assert pebble.orders() == orders
    daemon.wait_for("certificate issued")  # half of the life of the first one is over
    assert client.leaf(HOST) != leaf
    leaf = client.leaf(HOST)
    assert daemon.stop() == 0
    assert pebble.orders() == orders + 1
    assert (daemon.cache / "acme_account+key").read_bytes() == key

    with AutocertProcess(daemon, pebble, HOST):
        assert client.leaf(HOST) == leaf
    assert accounts(pebble) == 1


def test_go_serves_what_proxyd_obtained_and_uses_its_account(
    make_pebble: MakePebble, daemon: DaemonProcess, upstream: Upstream
) -> None:
    pebble = make_pebble()
    daemon.configure({OTHER: upstream.port}, pebble=pebble)
    daemon.start()
    client = HttpsClient(daemon.https_port, pebble.root())
    client.wait_for([OTHER], daemon=daemon)
    leaf = client.leaf(OTHER)
    assert daemon.stop() == 0
    pem = (daemon.cache / OTHER).read_bytes()
    # Key first; SEC 1 as autocert itself writes it; one blank line at the end and autocert would ignore the file.
    assert pem.startswith(b"-----BEGIN EC PRIVATE KEY-----\n")
    assert pem.endswith(b"-----END CERTIFICATE-----\n")
    assert b"\n\n" not in pem

    orders = pebble.orders()
    assert obtained_by_go(daemon, pebble, OTHER)[OTHER] == leaf
    assert pebble.orders() == orders
    assert obtained_by_go(daemon, pebble, HOST)
    assert pebble.orders() == orders + 1
    assert accounts(pebble) == 1
    assert (daemon.cache / OTHER).read_bytes() == pem


def test_what_autocert_leaves_behind_is_left_alone(
    make_pebble: MakePebble, daemon: DaemonProcess, upstream: Upstream
) -> None:
    pebble = make_pebble()
    obtained_by_go(daemon, pebble, HOST)
    # An early autocert's account key: read by both programs, written by neither.
    (daemon.cache / "acme_account+key").rename(daemon.cache / "acme_account.key")
    leftovers = {
        f"{OTHER}+token": (daemon.cache / HOST).read_bytes(),
        "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0+http-01": b"token.thumbprint",
        f"{OTHER}284637151": b"half a certif",
        f"{HOST}+rsa": b"",
        "notes": b"\xff\x00",
    }
    for name, content in leftovers.items():
        (daemon.cache / name).write_bytes(content)
        (daemon.cache / name).chmod(0o600)
    leftovers["acme_account.key"] = (daemon.cache / "acme_account.key").read_bytes()

    daemon.configure({HOST: upstream.port, OTHER: upstream.port}, pebble=pebble)
    daemon.start()
    HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST, OTHER], daemon=daemon)
    assert daemon.stop() == 0
    assert accounts(pebble) == 1
    for name, content in leftovers.items():
        assert (daemon.cache / name).read_bytes() == content, name
        assert stat.S_IMODE((daemon.cache / name).stat().st_mode) == 0o600, name
