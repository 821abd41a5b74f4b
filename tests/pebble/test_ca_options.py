"""What a CA may demand and offer: external accounts, profiles, other roots, and that it forgets us."""

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

HOST = "one.example.test"
_KEY = base64.urlsafe_b64encode(b"k" * 32).rstrip(b"=").decode()
_WRONG = base64.urlsafe_b64encode(b"x" * 32).rstrip(b"=").decode()


def test_an_external_account_is_bound_and_a_wrong_one_is_said_once(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    hosts = [f"host{number}.example.test" for number in range(8)]
    with Pebble(
        tmp_path / "pebble",
        http_port=daemon.http_port,
        tls_port=daemon.https_port,
        binding_keys={"kid-1": _KEY},
    ) as pebble:
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle)}
        served: dict[str, object] = dict.fromkeys(hosts, upstream.port)
        daemon.configure(served, acme=acme)
        daemon.start()
        daemon.wait_for("set acme.eab to the kid and hmac_key")
        eventually(lambda: 'kind="account refused"' in daemon.log(), what=daemon.log)
        daemon.configure(served, acme={**acme, "eab": {"kid": "kid-1", "hmac_key": _WRONG}})
        daemon.reload()
        daemon.wait_for("check acme.eab")
        daemon.wait_for("reloaded")
        assert pebble.log.read_text().count("POST /sign-me-up") <= 8  # not once for each host
        assert pebble.orders() == 0
        assert _WRONG not in daemon.log()
        daemon.configure(served, acme={**acme, "eab": {"kid": "kid-1", "hmac_key": _KEY}})
        daemon.reload()  # the changed key ends the block for all
        HttpsClient(daemon.https_port, pebble.root()).wait_for(hosts, daemon=daemon)
        assert _KEY not in daemon.log()


def test_a_profile_is_kept_on_renewal(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(
        tmp_path / "pebble",
        http_port=daemon.http_port,
        tls_port=daemon.https_port,
        profiles={"brief": timedelta(seconds=14)},
    ) as pebble:
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "profile": "brief"}
        daemon.configure({HOST: upstream.port}, acme=acme)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        first = client.leaf(HOST)
        eventually(lambda: client.leaf(HOST) != first, what=daemon.log)
        renewed = x509.load_der_x509_certificate(client.leaf(HOST))
        assert renewed.not_valid_after_utc - renewed.not_valid_before_utc < timedelta(minutes=1)


def test_a_preferred_chain_is_taken_and_one_that_does_not_exist_is_said(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(
        tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port, alternate_roots=2
    ) as pebble:
        other = x509.load_pem_x509_certificate(pebble.root(2))
        name = str(other.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle)}
        hosts: dict[str, object] = {
            HOST: {"upstream": upstream.port, "acme": {"preferred_chain": name}},
            "two.example.test": {"upstream": upstream.port, "acme": {"preferred_chain": "No Such Root"}},
        }
        daemon.configure(hosts, acme=acme)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root(2)).wait_for([HOST], daemon=daemon)
        HttpsClient(daemon.https_port, pebble.root()).wait_for(["two.example.test"], daemon=daemon)
        daemon.wait_for("does not offer acme.preferred_chain")


def test_a_ca_that_forgot_us_gets_one_new_account_for_all_hosts(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    hosts = [f"host{number}.example.test" for number in range(6)]
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({hosts[0]: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for(hosts[:1], daemon=daemon)
        leaf = client.leaf(hosts[0])
        pebble.stop()
        pebble.start()  # everything that it knew is gone
        daemon.configure(dict.fromkeys(hosts, upstream.port), pebble=pebble)
        daemon.reload()
        HttpsClient(daemon.https_port, pebble.root()).wait_for(hosts[1:], daemon=daemon)
        assert client.leaf(hosts[0]) == leaf  # no outage
        assert "There are now 2 accounts in memory" not in pebble.log.read_text()
        assert pebble.log.read_text().count("There are now 1 accounts in memory") == 2


def test_a_broken_account_key_costs_no_certificate(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        leaf = client.leaf(HOST)
        assert daemon.stop() == 0
        (daemon.cache / "acme_account+key").write_bytes(b"garbage")
        daemon.configure({HOST: upstream.port, "two.example.test": upstream.port}, pebble=pebble)
        daemon.start()
        client.wait_for(["two.example.test"], daemon=daemon)
        assert client.leaf(HOST) == leaf
        assert "There are now 2 accounts in memory" in pebble.log.read_text()


@pytest.mark.parametrize("is_known", [True, False])
def test_after_the_account_key_was_lost_certificates_are_renewed_by_the_new_account(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, is_known: bool
) -> None:
    """With what is kept of who ordered the certificate, and without: then the CA says that it was not us."""
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        hosts = [f"host{number}.example.test" for number in range(4)]
        daemon.configure(dict.fromkeys(hosts, upstream.port), pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for(hosts, daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        assert daemon.stop() == 0
        (daemon.cache / "acme_account+key").unlink()
        if not is_known:  # as the versions before kept it
            daemon.journal("UPDATE state SET document = json_remove(document, '$.account') WHERE name LIKE 'held %'")
        daemon.start()
        placed = pebble.orders()
        assert command(daemon, "renew", "--all").status == 0, daemon.log()[-4000:]
        asked = placed + (4 if is_known else 8)
        eventually(lambda: daemon.log().count("certificate issued") == 8, what=daemon.log)
        assert pebble.orders() == asked
        assert daemon.log().count("not taken as a renewal") == 4
        (account,) = command(daemon, "account", "show", "--json").json["accounts"].values()
        assert account["status"] == "valid"
        assert command(daemon, "renew", hosts[0]).status == 0  # as a renewal again
        assert pebble.orders() == asked + 1
        assert "cannot give certificates" not in daemon.log()


def test_the_first_ca_is_used_again_when_it_is_back(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    ports = {"http_port": daemon.http_port, "tls_port": daemon.https_port, "lifetime": timedelta(seconds=14)}
    first = Pebble(tmp_path / "first", **ports)  # type: ignore[arg-type]  # one mapping for both
    with Pebble(tmp_path / "second", **ports) as second:  # type: ignore[arg-type]
        first.start()
        first.stop()
        acme = {
            "server": first.url,
            "ca_bundle": str(first.bundle),
            "fallback": [{"server": second.url, "ca_bundle": str(second.bundle)}],
        }
        daemon.configure({HOST: upstream.port}, acme=acme)
        daemon.start()
        HttpsClient(daemon.https_port, second.root()).wait_for([HOST], daemon=daemon)
        with first:
            HttpsClient(daemon.https_port, first.root()).wait_for([HOST], daemon=daemon)
        assert len(list(daemon.cache.glob("acme_account+key*"))) == 2  # one account for each CA
