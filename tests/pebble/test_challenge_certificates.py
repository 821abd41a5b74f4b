"""TLS-ALPN-01 under many handshakes: a validator sees challenge certificates alone, a browser never sees one."""

import socket
import ssl
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from tests.support.daemon import DaemonProcess, eventually
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer
from tests.support.upstream import Upstream

HOSTS = [f"host{number}.example.test" for number in range(4)]
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_VALIDATOR = ("acme-tls/1",)
_BROWSERS: list[Sequence[str]] = [(), ("http/1.1",), ("h2", "http/1.1"), ("acme-tls/1", "http/1.1")]


class _Handshakes(threading.Thread):
    """Asks for one host with one ALPN offer, again and again, and judges what is shown."""

    def __init__(self, port: int, host: str, protocols: Sequence[str], stop: threading.Event) -> None:
        super().__init__()
        self.host, self.protocols = host, protocols
        self.seen: Counter[str] = Counter()
        self.leaves: set[bytes] = set()
        self._port, self._stop_asking = port, stop
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        if protocols:
            self._context.set_alpn_protocols(list(protocols))

    def run(self) -> None:
        while not self._stop_asking.wait(0.01):
            self.seen[self._ask()] += 1

    def _ask(self) -> str:
        try:
            with (
                socket.create_connection(("127.0.0.1", self._port), 10) as raw,
                self._context.wrap_socket(raw, server_hostname=self.host) as tls,
            ):
                leaf, protocol = tls.getpeercert(binary_form=True) or b"", tls.selected_alpn_protocol()
        except ssl.SSLError as error:
            return str(error.reason)
        certificate = x509.load_der_x509_certificate(leaf)
        kinds = {one.oid for one in certificate.extensions}
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if names.get_values_for_type(x509.DNSName) != [self.host]:
            return "another host's"
        if _ACME_IDENTIFIER in kinds:
            return "challenge" if protocol == "acme-tls/1" else "challenge without acme-tls/1"
        self.leaves.add(leaf)
        return "real with acme-tls/1" if protocol == "acme-tls/1" else "real"


def test_neither_sees_the_others_certificate_while_orders_run(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    def slowly(answer: Answer) -> Answer:
        answer.delay = 0.5  # so long the challenge is there to be seen, beside the certificate that serves
        return answer

    with FakeCa(tmp_path / "ca", tls_port=daemon.https_port) as ca:
        ca.lifetime = timedelta(seconds=12)
        ca.script["challenge"] = slowly
        daemon.configure(dict.fromkeys(HOSTS, upstream.port), pebble=ca)
        stop = threading.Event()
        asking = [
            _Handshakes(daemon.https_port, host, protocols, stop)
            for host in HOSTS
            for protocols in (_VALIDATOR, *_BROWSERS)
        ]
        daemon.start()
        try:
            for one in asking:
                one.start()
            eventually(
                lambda: all(len(one.leaves) >= 2 for one in asking if one.protocols != _VALIDATOR), what=daemon.log
            )
        finally:
            stop.set()
            for one in asking:
                one.join(20)
        for one in asking:
            if one.protocols == _VALIDATOR:
                assert set(one.seen) <= {"challenge", "TLSV1_UNRECOGNIZED_NAME"}, one.host
                assert one.seen["challenge"] > 0
            else:
                assert set(one.seen) <= {"real", "TLSV1_UNRECOGNIZED_NAME"}, (one.host, one.protocols)
                assert one.seen["real"] > 0
        assert daemon.stop() == 0
        assert "unforeseen" not in daemon.log()
