"""A reload without a host: what is in flight for it has as long as at a stop."""

import contextlib
import socket
import ssl
import time

from tests.support.cached import reload, start_cached
from tests.support.daemon import DaemonProcess
from tests.support.raw_upstream import Peer, RawUpstream

HOST, GONE = "one.example.test", "gone.example.test"


def _tunnel(daemon: DaemonProcess, host: str, upstream: RawUpstream) -> tuple[ssl.SSLSocket, Peer]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", daemon.https_port), 10)
    client = context.wrap_socket(raw, server_hostname=host)
    client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".encode())
    peer = upstream.accept()
    peer.head()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 101 ")
    return client, peer


def test_tunnels_of_a_removed_host_end_after_the_drain_and_no_others(daemon: DaemonProcess) -> None:
    with RawUpstream() as upstream, contextlib.ExitStack() as clients:
        upstream.script = None
        hosts: dict[str, object] = {HOST: upstream.port, GONE: upstream.port}
        start_cached(daemon, hosts, drain="2s")
        kept, gone = (_tunnel(daemon, host, upstream) for host in (HOST, GONE))
        for client, _ in (kept, gone):
            clients.enter_context(client)
        daemon.configure({HOST: upstream.port}, acme={"server": "https://127.0.0.1:1/dir"}, drain="2s")
        reload(daemon)
        gone[1].send(b"still")
        assert gone[0].recv(1000) == b"still"
        began = time.monotonic()
        assert gone[1].has_ended(6.0)
        assert time.monotonic() - began > 0.5
        kept[1].send(b"still")
        assert kept[0].recv(1000) == b"still"
