"""`proxyd account`: what the CA knows, and a new key that survives restarts, kills and lost answers."""

import shutil
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

HOST = "one.example.test"


def public_key(file: Path) -> bytes:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def accounts_made(pebble: Pebble) -> int:
    return pebble.log.read_text(errors="replace").count("accounts in memory")


def test_a_new_key_and_the_same_account(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        (before,) = command(daemon, "account", "show", "--json").json["accounts"].values()
        assert (before["status"], before["key_kind"]) == ("valid", "p256")
        file = daemon.cache / "acme_account+key"
        old = file.read_bytes()
        assert command(daemon, "account", "rotate-key").status == 0
        assert public_key(file) != public_key_of(old, tmp_path)
        assert command(daemon, "renew", HOST).status == 0  # with the new key
        assert daemon.stop() == 0
        daemon.start()
        (after,) = command(daemon, "account", "show", "--json").json["accounts"].values()
        assert after["url"] == before["url"]
        assert after["thumbprint"] != before["thumbprint"]
        assert command(daemon, "renew", HOST).status == 0
        assert accounts_made(pebble) == 1
        assert command(daemon, "account", "show", "--server", "letsencrypt").status == 2
        assert daemon.stop() == 0
        assert command(daemon, "account", "show").status == 3
        assert command(daemon, "account", "rotate-key").status == 3


def public_key_of(pem: bytes, directory: Path) -> bytes:
    file = directory / "old.pem"
    file.write_bytes(pem)
    return public_key(file)


def test_a_kill_in_the_middle_loses_no_account(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    """The three states that a kill can leave: the CA not asked yet, the CA agreed, all but the last rename done."""
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        file = daemon.cache / "acme_account+key"
        following = daemon.cache / "+proxyd" / "next-account-keys" / "acme_account+key"
        first = file.read_bytes()
        assert command(daemon, "account", "rotate-key").status == 0
        second = file.read_bytes()
        assert not following.exists()
        daemon.stop(signal.SIGKILL)
        file.write_bytes(first)  # as if it died between the CA's answer and the rename
        following.write_bytes(second)
        daemon.start()
        assert command(daemon, "renew", HOST).status == 0
        assert file.read_bytes() == second
        assert not following.exists()
        assert command(daemon, "account", "rotate-key").status == 0
        third = file.read_bytes()
        daemon.stop(signal.SIGKILL)
        following.write_bytes(first)  # as if it died before the CA was asked: this key is no account's
        daemon.start()
        assert command(daemon, "renew", HOST).status == 0
        assert file.read_bytes() == third
        assert sorted(one.name for one in daemon.cache.iterdir()) == ["+proxyd", "acme_account+key", HOST]
        assert accounts_made(pebble) == 1


def test_looking_makes_no_account(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        assert daemon.stop() == 0
        (daemon.cache / "acme_account+key").unlink()
        shutil.rmtree(daemon.cache / "+proxyd")
        daemon.start()
        shown = command(daemon, "account")
        assert shown.status == 0
        assert "no account yet" in shown.out
        done = command(daemon, "account", "rotate-key")
        assert (done.status, "nothing to replace" in done.out) == (1, True)
        assert accounts_made(pebble) == 1


def test_a_ca_that_is_down_is_said(daemon: DaemonProcess, upstream: Upstream) -> None:
    daemon.configure({HOST: upstream.port}, acme={"server": "https://127.0.0.1:1/dir"})
    daemon.start()
    daemon.wait_for("control socket")
    shown = command(daemon, "account", "show")
    assert shown.status == 1
    assert "cannot be reached" in shown.out


@pytest.mark.parametrize("by_reload", [True, False])
def test_a_ca_is_tried_out_first_and_each_keeps_its_account(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, by_reload: bool
) -> None:
    """Staging before production and back, by reload or restart: the key of each is found, whichever is rotated."""

    def ca(name: str) -> Pebble:
        return Pebble(tmp_path / name, http_port=daemon.http_port, tls_port=daemon.https_port)

    with ca("staging") as staging, ca("production") as production:

        def change(ca: Pebble, *, by_reload: bool) -> None:
            daemon.configure({HOST: upstream.port}, pebble=ca)
            if by_reload:
                daemon.reload()
            else:
                assert daemon.stop() == 0
                daemon.start()
                eventually(lambda: command(daemon, "account").status == 0)  # the control socket is there after the rest
            assert command(daemon, "renew", "--force", HOST).status == 0  # so often is too often for our ceiling
            HttpsClient(daemon.https_port, ca.root()).wait_for([HOST], daemon=daemon)

        daemon.configure({HOST: upstream.port}, pebble=staging)
        daemon.start()
        HttpsClient(daemon.https_port, staging.root()).wait_for([HOST], daemon=daemon)
        change(production, by_reload=by_reload)
        change(production, by_reload=False)
        assert command(daemon, "account", "rotate-key").status == 0
        change(staging, by_reload=by_reload)
        change(staging, by_reload=False)
        assert command(daemon, "account", "rotate-key").status == 0
        change(production, by_reload=False)
        assert [accounts_made(one) for one in (staging, production)] == [1, 1]
        # Of one certificate in 256 Pebble finds no order: it forgets the zero before a serial whose first bit is set.
        refused = [line for line in daemon.log().splitlines() if "not taken as a renewal" in line]
        assert all("could not find order resulting in the given certificate serial" in line for line in refused)
