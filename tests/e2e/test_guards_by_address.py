"""Guards that go by the client's address, for IPv6 clients that a PROXY header names: they count by /64."""

import contextlib
import socket
import ssl

from tests.support.cached import for_anybody, get, start_cached, status, tls
from tests.support.daemon import DaemonProcess
from tests.support.upstream import Upstream

OPEN, LIMITED, CLOSED = "one.example.test", "two.example.test", "three.example.test"
BALANCER = "127.0.0.2"


def proxied(client: str) -> bytes:
    return f"PROXY TCP6 {client} 2001:db8:ffff::1 56789 443\r\n".encode()


def test_each_by_the_network_of_the_client(daemon: DaemonProcess, upstream: Upstream) -> None:
    hosts = {
        OPEN: upstream.port,
        LIMITED: {"upstream": upstream.port, "rate_limit": "2/h"},
        CLOSED: {"upstream": upstream.port, "allow": ["2001:db8:1::/48"], "deny": ["2001:db8:1:6::/64"]},
    }
    listen = {
        "https": f"127.0.0.1:{daemon.https_port}",
        "http": f"127.0.0.1:{daemon.http_port}",
        "proxy_protocol": [BALANCER],
    }
    start_cached(daemon, hosts, listen=listen, limits={"max_connections_per_ip": 3}, workers=2)

    def ask(host: str, client: str) -> int:
        return status(tls(daemon.https_port, host, get(host), source=BALANCER, before=proxied(client)))

    assert [ask(LIMITED, f"2001:db8::{one:x}") for one in range(1, 5)] == [200, 200, 429, 429]
    assert ask(LIMITED, "2001:db8:0:1::1") == 200
    assert [ask(CLOSED, one) for one in ("2001:db8:1::1", "2001:db8:1:6::1", "2001:db8:2::1")] == [200, 403, 403]

    with contextlib.ExitStack() as stack:

        def connected(client: str) -> bool:
            raw = stack.enter_context(
                socket.create_connection(("127.0.0.1", daemon.https_port), 10, source_address=(BALANCER, 0))
            )
            raw.sendall(proxied(client))
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                stack.enter_context(for_anybody().wrap_socket(raw, server_hostname=OPEN))
                return True
            return False

        assert [connected(f"2001:db8:5::{one:x}") for one in range(1, 6)] == [True] * 3 + [False] * 2
        assert connected("2001:db8:5:1::1")
