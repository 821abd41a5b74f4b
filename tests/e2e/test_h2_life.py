"""HTTP/2 through reloads, stops and options: nobody loses a request, and everything is told."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA, reload, start_cached
from tests.support.client_certificates import ClientCa
from tests.support.daemon import DaemonProcess, eventually
from tests.support.h2_client import GOAWAY, PING, H2Client, frame, rst, window_update
from tests.support.raw_client import RawClient
from tests.support.raw_upstream import Peer, RawUpstream, answer
from tests.support.scrape import rising

HOST, OTHER = "one.example.test", "other.example.test"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _context(*protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([*protocols])
    return context


def _connect(daemon: DaemonProcess, host: str = HOST) -> H2Client:
    return H2Client(RawClient(daemon.https_port, _context("h2"), host), host, {})


def _says_nothing(peer: Peer) -> None:
    peer.head()
    peer.has_ended(10.0)


def _spoken(daemon: DaemonProcess, host: str = HOST) -> str | None:
    with RawClient(daemon.https_port, _context("h2", "http/1.1"), host) as client:
        return client.socket.selected_alpn_protocol()


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as one:
        yield one
        assert not one.failures


def test_a_stop_serves_what_was_asked_by_then(daemon: DaemonProcess, upstream: RawUpstream) -> None:
    """RFC 9113 §6.8: two GOAWAY frames; between them whatever the client sent before it knew is served."""
    upstream.script = None
    start_cached(daemon, {HOST: upstream.port}, drain="10s", workers=1)
    with _connect(daemon) as client, _connect(daemon) as idle:
        first = client.get("/first")
        peers = [upstream.accept()]
        idle.settle()
        stopping = threading.Thread(target=daemon.stop)
        stopping.start()
        while (one := client.frame()).kind != GOAWAY:
            pass
        assert one.payload[:4] == b"\x7f\xff\xff\xff"
        second = client.get("/second")  # sent before the client could know
        peers.append(upstream.accept())
        while (one := client.frame()).kind != PING:
            pass
        client.send(frame(PING, 1, 0, one.payload))
        while (one := client.frame()).kind != GOAWAY:
            pass
        assert int.from_bytes(one.payload[:4]) == second
        client.get("/third")  # is not served, and safe to be asked for elsewhere
        for peer in peers:
            peer.head()
            peer.send(_OK)
        assert [client.answer(stream).body for stream in (first, second)] == [b"ok", b"ok"]
        while True:  # who was idle is told as well
            if idle.step().kind == GOAWAY and len(idle.goaways) == 2:
                break
        assert idle.goaways == [(0x7FFFFFFF, 0), (0, 0)]
        assert client.raw.has_ended(5.0)
        assert idle.raw.has_ended(5.0)
        stopping.join(20)
    assert len(upstream.peers) == 2


def test_a_stop_waits_for_who_is_slow(daemon: DaemonProcess, upstream: RawUpstream) -> None:
    """A client that takes nothing for a few seconds has the time of the drain, as without a stop."""
    size = 4 << 20
    upstream.script = answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    start_cached(daemon, {HOST: upstream.port}, drain="20s", workers=1)
    raw = RawClient(daemon.https_port, _context("h2"), HOST, receive_buffer=8192)
    with H2Client(raw, HOST, {"window": 1 << 30}) as client:
        client.send(window_update(0, 1 << 30))
        client.widens = False
        stream = client.get("/large")
        time.sleep(1.5)  # until all buffers are full
        stopping = threading.Thread(target=daemon.stop)
        stopping.start()
        time.sleep(4.0)  # longer than any wait that could cut it off, but the drain
        assert len(client.answer(stream).body) == size
        stopping.join(20)


def test_a_host_that_goes_takes_only_its_own_requests(daemon: DaemonProcess, upstream: RawUpstream) -> None:
    upstream.script = None
    hosts: dict[str, object] = {HOST: upstream.port, OTHER: upstream.port}
    start_cached(daemon, hosts, drain="1s", workers=1)
    with _connect(daemon) as client, _connect(daemon, OTHER) as gone:
        kept = client.get()
        peer = upstream.accept()
        cut = gone.get()
        upstream.accept()
        daemon.configure({HOST: upstream.port}, acme=NO_CA, drain="1s", workers=1)
        reload(daemon)
        assert gone.answer(cut).reset == 8
        assert gone.asks().status == 421  # the connection is no worse for it
        peer.head()
        peer.send(_OK)
        assert client.answer(kept).body == b"ok"


def test_reloads_say_who_offers_it(daemon: DaemonProcess, upstream: RawUpstream) -> None:
    def serve(*, all_hosts: bool = True, host: bool = True) -> None:
        hosts: dict[str, object] = {HOST: {"upstream": upstream.port, "http2": host}, OTHER: upstream.port}
        https, http = (f"127.0.0.1:{port}" for port in (daemon.https_port, daemon.http_port))
        listen = {"https": https, "http": http, "http2": all_hosts}
        if daemon.process is None:
            start_cached(daemon, hosts, listen=listen, workers=1)
        else:
            daemon.configure(hosts, acme=NO_CA, listen=listen, workers=1)
            reload(daemon)

    serve()
    assert (_spoken(daemon), _spoken(daemon, OTHER)) == ("h2", "h2")
    with _connect(daemon) as client:
        assert client.asks().status == 200
        serve(host=False)
        assert (_spoken(daemon), _spoken(daemon, OTHER)) == ("http/1.1", "h2")
        assert client.asks().status == 421  # it asks again, by another connection
    serve(all_hosts=False)
    assert (_spoken(daemon), _spoken(daemon, OTHER)) == ("http/1.1", "http/1.1")
    for protocols in (("h2",), ("foo",)):  # RFC 7301 §3.2
        with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
            RawClient(daemon.https_port, _context(*protocols), HOST)
    daemon.wait_for("it speaks no HTTP that is offered (ALPN)")
    serve()
    assert (_spoken(daemon), _spoken(daemon, OTHER)) == ("h2", "h2")


def test_limits_logs_and_metrics(daemon: DaemonProcess, upstream: RawUpstream) -> None:
    admin, log = free_port(), daemon.directory / "access.log"
    start_cached(
        daemon,
        {HOST: upstream.port},
        workers=1,
        admin={"listen": f"127.0.0.1:{admin}"},
        limits={"http2": {"max_streams": 3, "resets": 5, "resets_per_second": 1}},
        log={"access": {"file": str(log), "format": "combined"}},
    )
    with (
        rising(admin, "proxyd_limits_hit_total", http2_streams=1, http2_resets=1),
        _connect(daemon) as client,
    ):
        assert client.asks("/logged").status == 200
        assert client.settings[3] == 3
        upstream.script = _says_nothing
        streams = [client.get() for _ in range(4)]
        assert client.answer(streams[3]).reset == 7
        for one in streams[:3]:
            client.send(rst(one))
        client.settle()
        client.send(client.head(client.fields()), rst(client.last))
        client.settle()
        for _ in range(10):  # more than a slow machine has time to allow
            client.send(client.head(client.fields()), rst(client.last))
        assert client.error() == 11
    eventually(lambda: b"/logged" in log.read_bytes())
    assert '"GET /logged HTTP/2.0" 200' in log.read_text()


@pytest.mark.parametrize("is_new", [False, True])
def test_each_request_of_a_trusted_proxy_has_its_own_client(
    daemon: DaemonProcess, upstream: RawUpstream, is_new: bool
) -> None:
    """Requests of many clients share the connection of a proxy, also of one that became trusted meanwhile."""
    log = daemon.directory / "access.log"
    options: dict[str, Any] = {"workers": 1, "log": {"access": {"file": str(log), "format": "json"}}}
    trusted: dict[str, Any] = {"trusted_proxies": ["127.0.0.1"]}
    start_cached(daemon, {HOST: upstream.port}, **options, **({} if is_new else trusted))
    upstream.script = None
    with _connect(daemon) as client:
        client.settle()
        if is_new:
            daemon.configure({HOST: upstream.port}, acme=NO_CA, **options, **trusted)
            reload(daemon)
        streams = [client.get(f"/{number}", ("x-forwarded-for", f"192.0.2.{number}")) for number in range(1, 4)]
        for _ in streams:
            peer = upstream.accept()
            peer.head()
            peer.send(_OK)
        assert [client.answer(one).status for one in streams] == [200] * 3
    eventually(lambda: log.read_text().count("\n") == 3)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["target"]: line["client"] for line in lines} == {f"/{n}": f"192.0.2.{n}" for n in range(1, 4)}


def test_whose_certificate_is_asked_for_is_looked_at_for_each_request(
    daemon: DaemonProcess, upstream: RawUpstream, tmp_path: Path
) -> None:
    """Browsers ask for all hosts that a certificate covers on one connection (RFC 9113 §9.1.1); some get 421."""
    ca, other_ca = ClientCa(tmp_path), ClientCa(tmp_path, "Other CA")
    hosts: dict[str, object] = {"open.example.test": upstream.port, "also.example.test": upstream.port}
    for name, authority, auth in (
        ("closed.example.test", ca, "require"),
        ("twin.example.test", ca, "require"),
        ("asking.example.test", ca, "optional"),
        ("foreign.example.test", other_ca, "require"),
    ):
        tls = {"client_ca": str(authority.file), "client_auth": auth}
        hosts[name] = {"upstream": upstream.port, "tls": tls}
    hosts["old.example.test"] = {"upstream": upstream.port, "http2": False}
    start_cached(daemon, hosts, covers_all=True, workers=1)

    def statuses(host: str, certificate: Path | None) -> dict[str, int]:
        context = _context("h2")
        if certificate is not None:
            context.load_cert_chain(certificate)
        found = {}
        with H2Client(RawClient(daemon.https_port, context, host), host, {}) as client:
            for name in [*hosts, "unknown.example.test"]:
                client.name = name
                found[name.partition(".")[0]] = client.asks().status
        return found

    nobody = dict.fromkeys([one.partition(".")[0] for one in [*hosts, "unknown.example.test"]], 421)
    assert statuses("open.example.test", None) == nobody | {"open": 200, "also": 200}
    assert statuses("open.example.test", ca.client()) == nobody | {"open": 200, "also": 200}
    assert statuses("closed.example.test", ca.client()) == nobody | {"closed": 200, "twin": 200}
    assert statuses("asking.example.test", None) == nobody | {"asking": 200}
    assert statuses("foreign.example.test", other_ca.client()) == nobody | {"foreign": 200}
    for one in upstream.requests():
        shown = bool(one.values(b"Client-Cert"))
        assert shown is (one.value(b"Host").partition(b".")[0] in (b"closed", b"twin", b"foreign"))
