"""A CA that takes its time to look, as real ones do: proofs of many names overlap, and none disturbs another."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from pebble.server import Pebble
from tests.support.daemon import DaemonProcess, eventually
from tests.support.upstream import Upstream

HOSTS = [f"h{number}.example.test" for number in range(4)]
SHARED, ALIASES = "shared.example.test", ["www.shared.example.test", "api.shared.example.test"]
#: Each look begins after up to so many seconds.
_SECONDS = 3


@pytest.fixture
def pebble(tmp_path: Path, daemon: DaemonProcess) -> Iterator[Pebble]:
    http, tls = daemon.http_port, daemon.https_port
    with Pebble(tmp_path / "pebble", http_port=http, tls_port=tls, validation_seconds=_SECONDS) as pebble:
        yield pebble


def names_of(file: Path) -> set[str]:
    """Return the names in a certificate of the cache; none when there is none yet."""
    try:
        leaf = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except FileNotFoundError:
        return set()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names.get_values_for_type(x509.DNSName))


def are_all_there(daemon: DaemonProcess, wanted: dict[str, set[str]]) -> bool:
    return all(names_of(daemon.cache / f"{host}{kind}") == wanted[host] for host in wanted for kind in ("", "+rsa"))


@pytest.mark.parametrize(
    "challenges", [["tls-alpn-01", "http-01"], ["tls-alpn-01"], ["http-01"]], ids=["both", "tls-alpn-01", "http-01"]
)
def test_proofs_that_overlap_do_not_disturb_each_other(
    pebble: Pebble, daemon: DaemonProcess, upstream: Upstream, challenges: list[str]
) -> None:
    acme = {
        "server": pebble.url,
        "ca_bundle": str(pebble.bundle),
        "challenges": challenges,
        "key_type": ["p256", "rsa2048"],
    }
    shared = {"upstream": upstream.port, "aliases": ALIASES, "certificate": "shared"}
    daemon.configure({**dict.fromkeys(HOSTS, upstream.port), SHARED: shared}, acme=acme)
    daemon.start()
    wanted = {**{host: {host} for host in HOSTS}, SHARED: {SHARED, *ALIASES}}
    eventually(lambda: are_all_there(daemon, wanted), what=daemon.log, seconds=90)
    eventually(lambda: daemon.log().count("certificate issued") == 2 * len(wanted), what=daemon.log)
    assert "no certificate" not in daemon.log()
    assert pebble.orders() == 2 * len(wanted)


def test_a_name_that_moves_into_a_shared_certificate_while_it_is_proved_costs_no_failure(
    pebble: Pebble, daemon: DaemonProcess, upstream: Upstream
) -> None:
    acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "challenges": ["tls-alpn-01"]}
    options = {"upstream": upstream.port, "aliases": ALIASES}
    daemon.configure({SHARED: options}, acme=acme)
    daemon.start()
    daemon.wait_for("order placed")
    daemon.configure({SHARED: {**options, "certificate": "shared"}}, acme=acme)
    daemon.reload()
    eventually(lambda: names_of(daemon.cache / SHARED) == {SHARED, *ALIASES}, what=daemon.log, seconds=60)
    assert "no certificate" not in daemon.log()
