"""Two kinds of keys for one host: each client gets what it can use, and both are renewed."""

import socket
import ssl
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

HOST = "one.example.test"
#: Each worker gets one of so many connections, but for once in ten thousand times.
MANY = 14
_RSA_ONLY = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"


def leaf(daemon: DaemonProcess, root: bytes, *, old: bool) -> x509.Certificate:
    """Return what a client is shown; an `old` one can do ECDHE-RSA in TLS 1.2 and nothing else."""
    context = ssl.create_default_context(cadata=root.decode())
    if old:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_RSA_ONLY)
    with (
        socket.create_connection(("127.0.0.1", daemon.https_port), 5) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as tls,
    ):
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")


def works(daemon: DaemonProcess, root: bytes) -> bool:
    try:
        return bool(leaf(daemon, root, old=True))
    except OSError:
        return False


def test_both_kinds_are_served_and_renewed(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(
        tmp_path / "pebble",
        http_port=daemon.http_port,
        tls_port=daemon.https_port,
        lifetime=timedelta(seconds=16),
    ) as pebble:
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "key_type": ["p256", "rsa2048"]}
        daemon.configure({HOST: upstream.port}, acme=acme)
        daemon.start()
        root = pebble.root()
        HttpsClient(daemon.https_port, root).wait_for([HOST], daemon=daemon)
        eventually(lambda: all(works(daemon, root) for _ in range(MANY)), what=daemon.log)
        eventually(lambda: (daemon.cache / HOST).exists() and (daemon.cache / f"{HOST}+rsa").exists())
        modern, old = leaf(daemon, root, old=False), leaf(daemon, root, old=True)
        assert isinstance(modern.public_key(), ec.EllipticCurvePublicKey)
        assert isinstance(old.public_key(), rsa.RSAPublicKey)
        eventually(
            lambda: (
                leaf(daemon, root, old=False).serial_number != modern.serial_number
                and leaf(daemon, root, old=True).serial_number != old.serial_number
            ),
            what=daemon.log,
        )
        assert daemon.stop() == 0
        daemon.start()
        both = {type(leaf(daemon, root, old=one).public_key()).__name__ for one in (True, False)}
        assert both == {"RSAPublicKey", "ECPublicKey"}
        assert "not confirmed" not in daemon.log()


def test_the_second_kind_is_added_and_taken_away_by_a_reload(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle)}
        daemon.configure({HOST: upstream.port}, acme=acme)
        daemon.start()
        root = pebble.root()
        client = HttpsClient(daemon.https_port, root)
        client.wait_for([HOST], daemon=daemon)
        first = client.leaf(HOST)
        assert not works(daemon, root)
        daemon.configure({HOST: upstream.port}, acme={**acme, "key_type": ["rsa2048", "p256"]})
        daemon.reload()
        eventually(lambda: all(works(daemon, root) for _ in range(MANY)), what=daemon.log)
        assert client.leaf(HOST) == first
        assert pebble.orders() == 2
        daemon.configure({HOST: upstream.port}, acme=acme)
        daemon.reload()
        daemon.wait_for("reloaded")
        assert client.leaf(HOST) == first
        assert pebble.orders() == 2


def test_another_kind_comes_with_the_next_certificate_and_the_present_one_is_told(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:

        def configure(*kinds: str) -> None:
            acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "key_type": [*kinds]}
            daemon.configure({HOST: upstream.port}, acme=acme)

        configure("p256")
        daemon.start()
        root = pebble.root()
        HttpsClient(daemon.https_port, root).wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        configure("rsa2048")
        assert "to order" not in command(daemon, "plan").out
        daemon.reload()
        assert f"Its key is p256, the next one's rsa2048: `proxyd renew {HOST}`" in command(daemon, "explain", HOST).out
        assert pebble.orders() == 1
        assert command(daemon, "renew", HOST).status == 0
        eventually(lambda: all(works(daemon, root) for _ in range(MANY)), what=daemon.log)
        assert isinstance(leaf(daemon, root, old=False).public_key(), rsa.RSAPublicKey)
        assert daemon.stop() == 0
        daemon.start()  # the other one lies in the cache still
        HttpsClient(daemon.https_port, root).wait_for([HOST], daemon=daemon)
        assert isinstance(leaf(daemon, root, old=False).public_key(), rsa.RSAPublicKey)
        configure("p256", "rsa2048")
        daemon.reload()
        eventually(lambda: isinstance(leaf(daemon, root, old=False).public_key(), ec.EllipticCurvePublicKey))
        configure("rsa2048")
        daemon.reload()
        eventually(lambda: isinstance(leaf(daemon, root, old=False).public_key(), rsa.RSAPublicKey))
        assert pebble.orders() == 2
