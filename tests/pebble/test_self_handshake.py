"""After an installation the daemon looks whether clients see the new certificate."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from pebble.server import Pebble, free_port
from proxyd.certs.certificate import Certificate
from proxyd.tls.context import load_pem
from tests.support.certs import make_pem
from tests.support.command import command
from tests.support.daemon import DaemonProcess, eventually
from tests.support.receiver import receiver
from tests.support.upstream import Upstream

#: A host by its own address: its clients come in there, at the port of the first listener.
HOST = "127.0.0.2"


@contextmanager
def another_program(port: int) -> Iterator[None]:
    """Listen for TLS at the host's address, with a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pem(context, make_pem(HOST))
    with socket.create_server((HOST, port)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        context.wrap_socket(connection, server_side=True).close()
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def shown(port: int) -> int:
    """Return the serial number that the daemon shows to clients of the address."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((HOST, port), 5) as raw, context.wrap_socket(raw) as tls:
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"").serial_number


def test_a_wrong_leaf_is_taken_back_for_good_and_silence_only_alarms(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with (
        Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble,
        receiver() as people,
    ):
        port = free_port()
        https = [f"127.0.0.1:{daemon.https_port}", f"{HOST}:{port}"]
        listen = {"https": https, "http": f"{HOST}:{daemon.http_port}"}
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "challenges": ["http-01"]}
        daemon.configure({HOST: upstream.port}, acme=acme, listen=listen, alerts=[{"webhook": people.url}])
        daemon.start(wait=False)
        live = daemon.cache / HOST
        daemon.wait_for("certificate issued")
        assert "could not be looked at" in daemon.log()  # nothing listens at the address: an alarm only
        row = command(daemon, "status", "--json").json["hosts"][HOST]
        assert (row["state"], row["needs_a_person"]) == ("ready", True)
        assert "the certificate is not confirmed" in row["alarms"][0]
        first = Certificate.parse(live.read_bytes())
        with another_program(daemon.https_port):
            done = command(daemon, "renew", HOST)
        assert done.status != 0
        assert "shows another certificate" in done.out + done.err
        assert "what served before serves again" in daemon.log()
        assert shown(port) == first.serial
        assert Certificate.parse(live.read_bytes()) == first
        eventually(lambda: people.received, what=daemon.log)  # of the silence, of the wrong leaf, or of both
        assert {one["kind"] for one in people.documents} == {"self_handshake_failed"}
        assert people.documents[0]["troubles"][0]["hosts"] == [HOST]
        told = command(daemon, "explain", HOST).out
        assert "the new certificate was taken back, the one before serves" in told
        assert len(list((daemon.cache / "+proxyd" / "condemned").iterdir())) == 1
        assert daemon.stop() == 0
        daemon.forget_log()
        daemon.start(wait=False)
        daemon.wait_for("listening")
        assert shown(port) == first.serial
        assert pebble.orders() == 2  # the wait is kept over a restart
