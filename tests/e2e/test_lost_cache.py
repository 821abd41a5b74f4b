"""Somebody takes the cache, or a part of it, away from a running daemon."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

A, B, NEW = (f"{one}.example.test" for one in ("a", "b", "new"))


def _remove(directory: Path) -> None:
    """The daemon may write there meanwhile."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


def everything(cache: Path) -> None:
    _remove(cache)


def what_is_in_it(cache: Path) -> None:
    for one in cache.iterdir():
        _remove(one) if one.is_dir() else one.unlink()


def our_directory(cache: Path) -> None:
    _remove(cache / "+proxyd")


def our_directory_for_a_file(cache: Path) -> None:
    our_directory(cache)
    (cache / "+proxyd").write_text("not a directory")


def one_certificate(cache: Path) -> None:
    (cache / A).unlink()


@pytest.mark.parametrize("lose", [everything, what_is_in_it, our_directory, our_directory_for_a_file, one_certificate])
def test_it_orders_on_and_keeps_again_what_serves(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, lose: Callable[[Path], None]
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        socket = {"socket": str(tmp_path / "control.sock")}
        daemon.configure(dict.fromkeys((A, B), upstream.port), pebble=pebble, admin=socket)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([A, B], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        leaves = {host: client.leaf(host) for host in (A, B)}
        lose(daemon.cache)
        daemon.configure(dict.fromkeys((A, B, NEW), upstream.port), pebble=pebble, admin=socket)
        daemon.reload()
        client.wait_for([NEW], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0, what=daemon.log)
        assert daemon.stop() == 0
        assert {A, B, NEW} <= {one.name for one in daemon.cache.iterdir()}
        orders = pebble.orders()
        daemon.start()
        client.wait_for([A, B, NEW], daemon=daemon)
        assert {host: client.leaf(host) for host in (A, B)} == leaves
        assert pebble.orders() == orders
