"""Hosts that ask clients for certificates: the daemon and raw TLS connections, of both versions of TLS."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.cached import NO_CA, get, plain, reload, start_cached, status
from tests.support.client_certificates import SERVER, ClientCa
from tests.support.command import command
from tests.support.daemon import DaemonProcess, eventually
from tests.support.raw_tls import TlsClient, answered
from tests.support.upstream import Upstream

OPEN, CLOSED, OTHER = "open.example.test", "closed.example.test", "other.example.test"
PROXY = "127.0.0.2"
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])
_DAY = timedelta(days=1)


@pytest.fixture
def ca(tmp_path: Path) -> ClientCa:
    return ClientCa(tmp_path)


def refused(client: TlsClient, name: str | None = CLOSED, *, resumes: bool = False) -> str:
    """Return the alert."""
    with pytest.raises(ssl.SSLError) as caught:
        client.ask(name, resumes=resumes)
    return re.sub(r"^(TLSV1|TLSV13|SSLV3)_ALERT_", "", caught.value.reason or "").lower()


def asks(ca: ClientCa, upstream: Upstream, **more: object) -> dict[str, object]:
    return {"upstream": upstream.port, "tls": {"client_ca": str(ca.file), **more}}


def resumes_until(client: TlsClient, daemon: DaemonProcess, why: str) -> None:
    """Have a client come again and again with its session, until it is refused."""
    assert [client.ask(CLOSED), client.ask(CLOSED, resumes=True), client.resumed] == [200, 200, True]

    def is_over() -> bool:
        try:
            return client.ask(CLOSED, resumes=True) != 200
        except (OSError, AssertionError):
            return True

    eventually(is_over, what=daemon.log)
    daemon.wait_for(why)


@pytest.fixture
def served(daemon: DaemonProcess, upstream: Upstream, ca: ClientCa) -> DaemonProcess:
    hosts = {OPEN: upstream.port, CLOSED: asks(ca, upstream)}
    start_cached(daemon, hosts, trusted_proxies=[PROXY], drain="1s")
    return daemon


@BOTH
def test_who_has_a_certificate_of_the_ca_is_served_and_nobody_else(
    served: DaemonProcess, ca: ClientCa, tmp_path: Path, version: str
) -> None:
    assert TlsClient(served, version, ca.client()).ask(CLOSED) == 200
    assert TlsClient(served, version, ca.client(usage=None)).ask(CLOSED) == 200
    assert TlsClient(served, version).ask(OPEN) == 200
    wrong: dict[str, tuple[Path | None, str, str]] = {
        "nothing": (None, "handshake_failure" if version == "1.2" else "certificate_required", "it showed none"),
        "late": (ca.client(begins=-9 * _DAY, lasts=_DAY), "certificate_expired", "certificate has expired"),
        "early": (ca.client(begins=_DAY), "bad_certificate", "certificate is not yet valid"),
        "a server's": (ca.client(usage=SERVER), "unsupported_certificate", "unsuitable certificate purpose"),
        "another CA's": (
            ClientCa(tmp_path, "Other CA").client(),
            "unknown_ca",
            "unable to get local issuer certificate",
        ),
        "of the same name": (ClientCa(tmp_path, "Client CA").client("mallory"), "unknown_ca", "issuer certificate"),
    }
    for what, (certificate, alert, why) in wrong.items():
        served.forget_log()
        found = refused(TlsClient(served, version, certificate))
        assert found.endswith(alert), what
        eventually(lambda why=why: why in served.log(), what=served.log)  # type: ignore[misc]
        assert f"refused a client's certificate host={CLOSED} client=127.0.0.1" in served.log()


@BOTH
def test_what_is_optional_must_be_right_all_the_same(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, tmp_path: Path, version: str
) -> None:
    start_cached(daemon, {CLOSED: asks(ca, upstream, client_auth="optional")})
    assert TlsClient(daemon, version).ask(CLOSED) == 200
    assert TlsClient(daemon, version, ca.client()).ask(CLOSED) == 200
    assert refused(TlsClient(daemon, version, ClientCa(tmp_path, "Other CA").client())).endswith("unknown_ca")
    assert refused(TlsClient(daemon, version, ca.client(lasts=_DAY / 2))).endswith("certificate_expired")


@BOTH
def test_chains(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path, version: str) -> None:
    """An authority between may be the one that is trusted; more than five certificates are no honest chain."""
    middle, long = ClientCa(tmp_path, "Middle", between=1), ClientCa(tmp_path, "Long", between=4)
    short, deep = ClientCa(tmp_path, "Short", allowed=0), ClientCa(tmp_path, "Deep", between=1, allowed=0)
    hosts = {
        "root.example.test": {"upstream": upstream.port, "tls": {"client_ca": str(middle.file)}},
        "middle.example.test": {"upstream": upstream.port, "tls": {"client_ca": str(middle.trusted(1))}},
        "long.example.test": {"upstream": upstream.port, "tls": {"client_ca": str(long.file)}},
        "short.example.test": {"upstream": upstream.port, "tls": {"client_ca": str(short.file)}},
        "deep.example.test": {"upstream": upstream.port, "tls": {"client_ca": str(deep.file)}},
    }
    start_cached(daemon, hosts)
    assert TlsClient(daemon, version, middle.client()).ask("root.example.test") == 200
    assert refused(TlsClient(daemon, version, middle.client(shows=False)), "root.example.test").endswith("unknown_ca")
    assert TlsClient(daemon, version, middle.client(shows=False)).ask("middle.example.test") == 200
    assert TlsClient(daemon, version, short.client()).ask("short.example.test") == 200
    refused(TlsClient(daemon, version, deep.client()), "deep.example.test")
    daemon.wait_for("path length constraint exceeded")
    with pytest.raises((ssl.SSLError, AssertionError, ConnectionError)):
        TlsClient(daemon, version, long.client()).ask("long.example.test")
    daemon.wait_for("more than 5 certificates in its chain")


@BOTH
def test_a_session_resumes_at_its_own_host_only(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, tmp_path: Path, version: str
) -> None:
    other = ClientCa(tmp_path, "Other CA")
    hosts = {OPEN: upstream.port, CLOSED: asks(ca, upstream), OTHER: asks(other, upstream)}
    start_cached(daemon, hosts, workers=1)  # each has keys of its own for tickets
    client = TlsClient(daemon, version, ca.client())
    assert client.ask(CLOSED) == 200
    assert client.ask(CLOSED, resumes=True) == 200
    assert client.resumed
    assert refused(client, OTHER, resumes=True).endswith("unknown_ca")
    nobody = TlsClient(daemon, version)
    assert nobody.ask(OPEN) == 200
    assert nobody.ask(OPEN, resumes=True) == 200
    assert nobody.resumed
    refused(nobody, CLOSED, resumes=True)


@BOTH
def test_a_session_ends_with_its_certificate(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, version: str
) -> None:
    start_cached(daemon, {CLOSED: asks(ca, upstream)}, workers=1)
    client = TlsClient(daemon, version, ca.client(lasts=_DAY + timedelta(seconds=4)))
    resumes_until(client, daemon, "certificate has expired")


@BOTH
def test_a_session_ends_with_the_list_that_its_certificate_was_looked_up_in(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, version: str
) -> None:
    start_cached(daemon, {CLOSED: asks(ca, upstream, client_crl=str(ca.revoke()))}, workers=1)
    client = TlsClient(daemon, version, ca.client())
    ca.revoke(until=timedelta(seconds=12))
    reload(daemon)
    resumes_until(client, daemon, "CRL has expired")


@BOTH
def test_no_connection_of_another_host_reaches_it(served: DaemonProcess, ca: ClientCa, version: str) -> None:
    """By Host, by keep-alive, without TLS, from a trusted proxy: 421."""
    certified = TlsClient(served, version, ca.client())
    for client in (TlsClient(served, version), certified):
        for source in ("127.0.0.1", PROXY):
            assert client.ask(OPEN, CLOSED, source=source) == 421
            assert client.ask(OPEN, CLOSED.upper(), source=source) == 421
            assert client.ask(OPEN, f"{CLOSED}.:443", source=source) == 421
    for source in ("127.0.0.1", PROXY):
        assert certified.ask(CLOSED, OPEN, source=source) == 421
    with TlsClient(served, version).connected(OPEN) as tls:
        first = get(OPEN).replace(b"Connection: close\r\n", b"")
        tls.sendall(first + get(CLOSED).replace(b"Connection: close\r\n", b"") + get(OPEN))
        received = b"".join(iter(lambda: tls.recv(65536), b""))
    assert [int(one) for one in re.findall(rb"HTTP/1\.1 (\d+) ", received)] == [200, 421, 200]
    secure = get(CLOSED, "X-Forwarded-Proto: https")
    assert status(plain(served.http_port, secure, source=PROXY)) == 421
    assert status(plain(served.http_port, secure)) == 308


@BOTH
def test_a_validator_of_acme_gets_nothing_of_it(served: DaemonProcess, version: str) -> None:
    client = TlsClient(served, version)
    client.context.set_alpn_protocols(["acme-tls/1"])
    assert refused(client).endswith("unrecognized_name")


@BOTH
def test_who_sends_no_name_is_asked_too(daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, version: str) -> None:
    hosts = {OPEN: upstream.port, CLOSED: asks(ca, upstream)}
    start_cached(daemon, hosts, default_host=CLOSED, trusted_proxies=[PROXY])
    certified = TlsClient(daemon, version, ca.client())
    for source in ("127.0.0.1", PROXY):
        assert certified.ask(None, CLOSED, source=source) == 200
        assert certified.ask(None, OPEN, source=source) == 421
    assert certified.ask("unknown.example.test", CLOSED, source=PROXY) == 200
    assert refused(certified, "unknown.example.test").endswith("unrecognized_name")
    refused(TlsClient(daemon, version), None)
    for name in (None, "unknown.example.test"):
        with pytest.raises(ssl.SSLError):
            TlsClient(daemon, version).ask(name, CLOSED, source=PROXY)


@BOTH
def test_a_reload_that_asks_ends_what_was_not_asked(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, version: str
) -> None:
    start_cached(daemon, {OPEN: upstream.port, CLOSED: upstream.port}, drain="1s")
    client = TlsClient(daemon, version)
    assert client.ask(CLOSED) == 200
    whole, rest = get(CLOSED), b"\r\n"
    with client.connected(CLOSED) as idle, client.connected(CLOSED) as begun, client.connected(OPEN) as stays:
        for one, host in ((idle, CLOSED), (begun, CLOSED), (stays, OPEN)):
            one.sendall(get(host).replace(b"Connection: close\r\n", b""))
            assert answered(one) == 200
        begun.sendall(whole.removesuffix(rest))
        daemon.configure({OPEN: upstream.port, CLOSED: asks(ca, upstream)}, acme=NO_CA, drain="1s")
        reload(daemon)
        assert idle.recv(65536) == b""
        begun.sendall(rest)
        assert answered(begun) == 421
        stays.sendall(get(OPEN))
        assert answered(stays) == 200
    refused(client, CLOSED, resumes=True)
    assert TlsClient(daemon, version, ca.client()).ask(CLOSED) == 200


@BOTH
def test_another_ca_ends_connections_and_sessions_of_the_one_before(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, tmp_path: Path, version: str
) -> None:
    start_cached(daemon, {CLOSED: asks(ca, upstream)}, drain="1s")
    client, other = TlsClient(daemon, version, ca.client()), ClientCa(tmp_path, "Other CA")
    with client.connected(CLOSED) as tls:
        tls.sendall(get(CLOSED).replace(b"Connection: close\r\n", b""))
        assert answered(tls) == 200
        daemon.configure({CLOSED: asks(other, upstream)}, acme=NO_CA, drain="1s")
        reload(daemon)
        assert tls.recv(65536) == b""
    assert refused(client, CLOSED, resumes=True).endswith("unknown_ca")
    assert TlsClient(daemon, version, other.client()).ask(CLOSED) == 200


@BOTH
def test_a_tunnel_of_a_client_who_is_believed_no_more_ends_at_the_drain(
    daemon: DaemonProcess, tmp_path: Path, ca: ClientCa, version: str
) -> None:
    with echoing() as port:
        crl = ca.revoke()
        host = {"upstream": port, "tls": {"client_ca": str(ca.file), "client_crl": str(crl)}}
        start_cached(daemon, {CLOSED: host}, drain="1s")
        alice, bob = ca.client("alice"), ca.client("bob")
        with (
            TlsClient(daemon, version, alice).connected(CLOSED) as hers,
            TlsClient(daemon, version, bob).connected(CLOSED) as his,
        ):
            for one in (hers, his):
                one.sendall(
                    f"GET / HTTP/1.1\r\nHost: {CLOSED}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode()
                )
                assert answered(one) == 101
                one.sendall(b"hello")
                assert one.recv(65536) == b"hello"
            ca.revoke(alice)  # nobody says so: the file is looked at
            assert hers.recv(65536) == b""
            assert refused(TlsClient(daemon, version, alice)).endswith("certificate_revoked")
            his.sendall(b"still here")
            assert his.recv(65536) == b"still here"
            daemon.configure(
                {CLOSED: {"upstream": port, "tls": {"client_ca": str(ClientCa(tmp_path, "Other").file)}}},
                acme=NO_CA,
                drain="1s",
            )
            reload(daemon)
            assert his.recv(65536) == b""


@BOTH
def test_who_is_revoked_is_refused(daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, version: str) -> None:
    alice, bob = ca.client("alice"), ca.client("bob")
    crl = ca.revoke(alice)
    start_cached(daemon, {CLOSED: asks(ca, upstream, client_crl=str(crl))})
    hers, his = TlsClient(daemon, version, alice), TlsClient(daemon, version, bob)
    assert refused(hers).endswith("certificate_revoked")
    assert his.ask(CLOSED) == 200
    ca.revoke(alice, bob)
    reload(daemon)
    assert refused(his, resumes=True).endswith("certificate_revoked")
    ca.revoke(until=-_DAY)
    reload(daemon)
    refused(hers)
    daemon.wait_for("CRL has expired")


def test_a_broken_file_never_means_that_nobody_is_asked(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    contents: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: broken.unlink(missing_ok=True), "No such file or directory"),
        (lambda: broken.write_text(""), "it is empty"),
        (lambda: broken.write_text("no PEM"), "no certificate is in it"),
        (
            lambda: broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "cannot be used (",
        ),
    )
    hosts = {OPEN: upstream.port, CLOSED: {"upstream": upstream.port, "tls": {"client_ca": str(broken)}}}
    certified, anybody = (TlsClient(daemon, "1.3", one) for one in (ca.client(), None))
    for number, (write, says) in enumerate(contents):
        write()
        if number:
            reload(daemon)
        else:
            start_cached(daemon, hosts)
        assert (anybody.ask(CLOSED), certified.ask(CLOSED), anybody.ask(OPEN)) == (503, 503, 200)
        assert says in daemon.log()
        assert f"host={CLOSED}" in daemon.log()
        checked = command(daemon, "check").err
        assert says in checked
        assert "tls.client_ca" in checked
    broken.write_text("a comment: CA für Kunden\n" + ca.file.read_text())
    reload(daemon)
    assert certified.ask(CLOSED) == 200
    for write, says in contents:
        write()
        reload(daemon)
        assert says in daemon.log()
        assert certified.ask(CLOSED) == 200
        refused(anybody)


def test_a_broken_list_is_the_last_good_one_or_nobody_is_served(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, tmp_path: Path
) -> None:
    crl = tmp_path / "list.pem"
    crl.write_text("garbage")
    alice, bob = ca.client("alice"), ca.client("bob")
    start_cached(daemon, {CLOSED: asks(ca, upstream, client_crl=str(crl))})
    assert TlsClient(daemon, "1.3", bob).ask(CLOSED) == 503
    ca.revoke(alice, into=crl)
    reload(daemon)
    crl.write_bytes(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    reload(daemon)
    assert TlsClient(daemon, "1.3", bob).ask(CLOSED) == 200
    assert refused(TlsClient(daemon, "1.3", alice)).endswith("certificate_revoked")


def test_each_worker_asks(daemon: DaemonProcess, upstream: Upstream, ca: ClientCa) -> None:
    start_cached(daemon, {CLOSED: asks(ca, upstream)}, workers=2)
    for _ in range(8):
        refused(TlsClient(daemon, "1.3"))
        assert TlsClient(daemon, "1.3", ca.client()).ask(CLOSED) == 200


@contextmanager
def echoing() -> Iterator[int]:
    """Serve an upstream that switches to a protocol in which it says what it hears; yield its port."""

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection:
            while b"\r\n\r\n" not in connection.recv(65536):
                pass
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
