"""How often a client may ask: the daemon, alone and with workers, and raw sockets."""

from typing import Any

import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA, get, keep_certificates, plain, reload, start_cached, status, tls
from tests.support.daemon import DaemonProcess, accepts, eventually
from tests.support.processes import replaced, workers
from tests.support.scrape import rising
from tests.support.upstream import Upstream

HOST, ALIAS, OTHER = "one.example.test", "alias.example.test", "two.example.test"
FIVE = {"requests": 5, "per": "1h"}
PROXY = "127.0.0.3"


def ask(daemon: DaemonProcess, *lines: str, host: str = HOST, source: str = "127.0.0.1") -> int:
    return status(tls(daemon.https_port, host, get(host, *lines), source=source))


def asked(daemon: DaemonProcess, times: int, *lines: str, **more: Any) -> list[int]:
    return [ask(daemon, *lines, **more) for _ in range(times)]


@pytest.mark.parametrize(("processes", "fast"), [(1, True), (1, False), (2, True)])
def test_one_limit_for_a_client_over_all_workers_names_and_reloads(
    daemon: DaemonProcess, upstream: Upstream, processes: int, fast: bool
) -> None:
    one = {"upstream": upstream.port, "aliases": [ALIAS], "rate_limit": FIVE}
    keep_certificates(daemon, ALIAS)
    hosts: dict[str, Any] = {HOST: one, OTHER: {"upstream": upstream.port, "rate_limit": "2/h"}}
    more: dict[str, Any] = {"workers": processes, "fast_path": fast, "admin": {"listen": f"127.0.0.1:{free_port()}"}}
    start_cached(daemon, hosts, **more)
    port = int(more["admin"]["listen"].rpartition(":")[2])
    eventually(lambda: accepts(port), what=daemon.log)
    with rising(port, "proxyd_limits_hit_total", rate_limit=15):
        assert asked(daemon, 20) == [200] * 5 + [429] * 15
    assert asked(daemon, 3, source="127.0.0.2") == [200] * 3
    assert status(tls(daemon.https_port, ALIAS, get(ALIAS))) == 429, "names of one host count together"
    assert asked(daemon, 3, host=OTHER) == [200, 200, 429]
    refused = tls(daemon.https_port, HOST, get(HOST))
    assert b"\r\nRetry-After: 7" in refused  # a fifth of an hour
    assert b"Too many requests came from your address: try again later.\nRequest ID: " in refused
    assert refused.count(b"\r\nX-Request-ID: ") == 1
    assert "Traceback" not in daemon.log()
    daemon.configure({**hosts, HOST: {**one, "hsts": None, "max_body": 5}}, acme=NO_CA, **more)
    reload(daemon)
    assert ask(daemon) == 429
    if processes > 1:
        for pid in workers(daemon):
            replaced(daemon, pid)
        assert set(asked(daemon, 10)) == {429}
    daemon.configure({**hosts, HOST: {"upstream": upstream.port}}, acme=NO_CA, **more)
    reload(daemon)
    assert asked(daemon, 10) == [200] * 10


def test_a_client_behind_a_trusted_proxy_is_its_own_and_ipv6_counts_by_64(
    daemon: DaemonProcess, upstream: Upstream
) -> None:
    start_cached(daemon, {HOST: {"upstream": upstream.port, "rate_limit": "2/h"}}, trusted_proxies=[PROXY])
    for client in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"):
        assert asked(daemon, 3, f"X-Forwarded-For: {client}", source=PROXY) == [200, 200, 429]
    assert ask(daemon, "X-Forwarded-For: 2001:db8:0:1:2:3:4:5", source=PROXY) == 429
    assert ask(daemon, "X-Forwarded-For: 192.0.2.3", source="127.0.0.1") == 200
    assert ask(daemon, "X-Forwarded-For: 192.0.2.4", source="127.0.0.1") == 200
    assert ask(daemon, "X-Forwarded-For: 192.0.2.5", source="127.0.0.1") == 429, "a stranger says who he is in vain"
    secure = get(HOST, "X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1")
    assert status(plain(daemon.http_port, secure, source=PROXY)) == 429


def test_requests_of_one_connection_count_and_those_come_back_that_are_promised(
    daemon: DaemonProcess, upstream: Upstream
) -> None:
    limit = {"requests": 1, "per": "1s", "burst": 3}
    start_cached(daemon, {HOST: {"upstream": upstream.port, "rate_limit": limit}})
    five = get(HOST).replace(b"Connection: close\r\n", b"") * 4 + get(HOST)
    answers = [part[:3] for part in tls(daemon.https_port, HOST, five).split(b"HTTP/1.1 ")[1:]]
    assert answers == [b"200"] * 3 + [b"429"] * 2
    eventually(lambda: ask(daemon) == 200, seconds=3.0)


def test_what_is_refused_with_a_body_is_no_request_smuggled(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {HOST: {"upstream": upstream.port, "rate_limit": "1/h"}})
    assert ask(daemon) == 200
    smuggled = get(HOST)
    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    received = tls(daemon.https_port, HOST, head + smuggled)
    assert status(received) == 429
    assert received.count(b"HTTP/1.1") == 1


def test_a_flood_is_told_in_a_few_lines(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {HOST: {"upstream": upstream.port, "rate_limit": "1/h"}}, log={"level": "info"})
    many = get(HOST).replace(b"Connection: close\r\n", b"") * 300 + get(HOST)
    assert tls(daemon.https_port, HOST, many).count(b" 429 ") == 300
    eventually(lambda: daemon.log().count("status=429") == 300, what=daemon.log)
    assert 1 <= daemon.log().count("a client asks more often than it may") <= 10
