"""Who makes us work for nothing over HTTP/2 is sent away soon, and nobody else notices anything."""

import contextlib
import os
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pebble.server import free_port
from tests.support.daemon import eventually
from tests.support.h2_client import (
    ACK,
    CALM,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    REFUSED_STREAM,
    SETTINGS,
    Answer,
    H2Client,
    SentAway,
    frame,
    rst,
    settings,
    window_update,
)
from tests.support.prober import probed
from tests.support.raw_client import Truncated
from tests.support.raw_upstream import Ended, Peer, answer
from tests.support.scrape import risen, scrape
from tests.support.wire import Wire

_STREAMS = 100
#: A fault costs a client a connection, and us next to nothing.
_MOST_CPU_SECONDS = 1.0


def _rapid_reset(client: H2Client) -> Iterator[bytes]:
    while True:
        head = client.head(client.fields("/victim"))
        yield head + rst(client.last)


def _faults(fault: Callable[[H2Client, int], bytes]) -> Callable[[H2Client], Iterator[bytes]]:
    """Return an attack that makes us reset our streams (MadeYouReset, CVE-2025-8671)."""

    def attack(client: H2Client) -> Iterator[bytes]:
        while True:
            head = client.head(client.fields("/victim", "POST", ("content-length", "5")), ends=False)
            yield head + fault(client, client.last)

    return attack


def _continuations(client: H2Client) -> Iterator[bytes]:
    yield frame(HEADERS, 0, 1, b"")
    while True:
        yield frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 10)


def _bomb(client: H2Client) -> Iterator[bytes]:
    """A large field in the table, then its index thousands of times."""
    start = client.encoder.encode(client.fields("/bomb"))
    entry = b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000
    while True:
        yield frame(HEADERS, END_HEADERS | END_STREAM, client.last + 2, start + entry + b"\xbe" * 8000)


def _wishes_of_one(client: H2Client) -> Iterator[bytes]:
    """A download that the client lets through byte by byte."""
    stream = 1
    yield settings(window=1) + client.head(client.fields("/large"))
    while True:
        yield window_update(stream, 1)


FLOODS: dict[str, Callable[[H2Client], Iterator[bytes]]] = {
    "rapid reset": _rapid_reset,
    "windows that grow by nothing": _faults(lambda _, stream: window_update(stream, 0)),
    "windows that overflow": _faults(lambda _, stream: window_update(stream, 0x7FFFFFFF)),
    "too long bodies": _faults(lambda _, stream: frame(DATA, END_STREAM, stream, b"123456")),
    "heads after the end": _faults(
        lambda client, stream: frame(DATA, END_STREAM, stream, b"12345") + client.head([("a", "b")], stream=stream)
    ),
    "priorities of another size": _faults(lambda _, stream: frame(PRIORITY, 0, stream, b"1234")),
    "continuations": _continuations,
    "a bomb": _bomb,
    "settings": lambda _: iter(lambda: settings(window=65535), b""),
    "long settings": lambda _: iter(lambda: settings(window=65535) * 2, b""),
    "pings": lambda _: iter(lambda: frame(PING, 0, 0, bytes(8)), b""),
    "acknowledgements": lambda _: iter(lambda: frame(SETTINGS, ACK), b""),
    "heads of what was answered": lambda client: _repeated(
        settings(window=0) + client.head(client.fields("/" + "a" * 9000, "POST"), ends=False),
        frame(HEADERS, END_HEADERS, 1, b"\x00\x01a\x01b"),
    ),
    "priorities": lambda _: iter(lambda: frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 1)), b""),
    "unknown frames": lambda _: iter(lambda: frame(0x42, 0, 0, b""), b""),
    "goodbyes": lambda client: _repeated(
        settings(window=0) + client.head(client.fields("/large")), frame(GOAWAY, 0, 0, bytes(8))
    ),
    "windows of the connection": lambda _: iter(lambda: window_update(0, 1), b""),
    "empty bodies": lambda client: _repeated(
        client.head(client.fields("/victim", "POST"), ends=False), frame(DATA, 0, 1, b"")
    ),
    "bodies of single bytes": lambda client: _repeated(
        client.head(client.fields("/victim", "POST"), ends=False), frame(DATA, 0, 1, b"x")
    ),
    "windows of a byte": _wishes_of_one,
}


#: What they are counted as; the others as glitches.
LIMITS = {"continuations": "http2_header_block", "a bomb": "http2_header_list"} | dict.fromkeys(
    [
        *("rapid reset", "windows that grow by nothing", "windows that overflow", "too long bodies"),
        *("heads after the end", "priorities of another size"),
    ],
    "http2_resets",
)


def _repeated(first: bytes, then: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield then


def _large(peer: Peer) -> None:
    one = peer.request()
    body = b"x" * (200_000 if one.target == b"/large" else 2)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)


def _cpu_seconds(wire: Wire) -> float:
    assert wire.daemon.process is not None
    with open(f"/proc/{wire.daemon.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _cheap_and_unnoticed(wire: Wire) -> Iterator[None]:
    """Others are served meanwhile, and little time is spent."""
    with contextlib.ExitStack() as stack:
        prober = stack.enter_context(wire.h2_client())
        prober.asks("/prober")
        stack.enter_context(probed(lambda: _ok(prober.asks("/prober", seconds=5.0))))
        before = _cpu_seconds(wire)
        yield
        assert _cpu_seconds(wire) - before < _MOST_CPU_SECONDS
    assert wire.upstream.failures == []


def _ok(one: Answer) -> None:
    assert one.status == 200


@pytest.fixture(scope="module")
def daemon_options() -> dict[str, Any]:
    return {"admin": {"listen": f"127.0.0.1:{free_port()}"}}


@pytest.mark.parametrize("attack", FLOODS)
def test_a_flood_is_ended(wire: Wire, daemon_options: dict[str, Any], attack: str) -> None:
    wire.upstream.script = _large
    admin = int(daemon_options["admin"]["listen"].rpartition(":")[2])
    before = scrape(admin)
    with _cheap_and_unnoticed(wire), wire.h2_client() as client:
        assert client.flood(FLOODS[attack](client), most=20_000) == CALM
        with contextlib.suppress(Truncated):
            client.raw.rest(seconds=3.0)
        assert client.raw.how_it_ended
    counted = (LIMITS.get(attack, "http2_glitches"),)
    eventually(lambda: risen(before, scrape(admin), "proxyd_limits_hit_total").get(counted) == 1)


class _Counted:
    """Answers nothing, and counts how many requests are under way at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = self.all = 0

    def __call__(self, peer: Peer) -> None:
        peer.head()
        with self._lock:
            self.now += 1
            self.all += 1
            self.most = max(self.most, self.now)
        try:
            peer.until(b"nothing follows")
        except (Ended, TimeoutError):
            pass
        finally:
            with self._lock:
                self.now -= 1


def test_no_more_requests_reach_the_upstream_than_were_announced(wire: Wire) -> None:
    counted = _Counted()
    wire.upstream.script = counted
    with wire.h2_client() as client:
        streams = [client.get(f"/{number}") for number in range(_STREAMS + 20)]
        refused = [client.answer(one).reset for one in streams[_STREAMS:]]
        assert refused == [REFUSED_STREAM] * 20
        eventually(lambda: counted.now == _STREAMS)
        client.send(*(rst(one) for one in streams[:_STREAMS]))
        client.settle()
        eventually(lambda: counted.now == 0)
        client.send(*(frame for one in range(60) for frame in _taken_back(client, one)))
        with contextlib.suppress(SentAway):
            client.settle()
    assert counted.most == _STREAMS


@pytest.mark.parametrize("at_once", [True, False])
def test_who_takes_back_all_and_asks_anew_is_served(wire: Wire, at_once: bool) -> None:
    """A browser whose user goes elsewhere. The upstream still has no more requests at a time than were announced."""
    counted = _Counted()
    wire.upstream.script = counted
    with wire.h2_client() as client:
        streams = [client.get(f"/{number}") for number in range(_STREAMS)]
        eventually(lambda: counted.now == _STREAMS)
        taken_back = [rst(one) for one in streams]
        if not at_once:
            client.send(*taken_back)
            eventually(lambda: counted.now == 0)
        heads = [client.head(client.fields(f"/{number}")) for number in range(_STREAMS)]
        client.send(*(taken_back if at_once else []), *heads)
        eventually(lambda: counted.all == 2 * _STREAMS)
        client.settle()
        assert {one.reset for one in client.streams.values()} <= {None}
    assert counted.most <= _STREAMS


def _taken_back(client: H2Client, number: int) -> Iterator[bytes]:
    head = client.head(client.fields(f"/again/{number}"))
    yield head
    yield rst(client.last)


def test_who_never_reads_is_cut_off(wire: Wire) -> None:
    """Answers wait, then requests are read no more, and in the end there is no connection."""
    wire.upstream.script = answer(b"HTTP/1.1 204 No Content\r\nX-Large: %b\r\n\r\n" % (b"a" * 8000))
    before = wire.daemon.rss_kib()
    with wire.h2_client(receive_buffer=4096) as client:
        client.raw.socket.settimeout(1.0)
        sent = 0
        with contextlib.suppress(TimeoutError, OSError):
            for _ in range(5000):
                client.raw.socket.sendall(client.head(client.fields("/204")))
                sent += 1
        assert wire.daemon.rss_kib() - before < 32_000
    assert wire.get(b"/after").status == 204


def test_a_stalled_download_holds_up_nothing_else(wire: Wire) -> None:
    """100 downloads that nobody reads: memory is bounded, and small answers are quick (RFC 9113 §5.2)."""
    wire.upstream.script = _endless
    before = wire.daemon.rss_kib()
    with wire.h2_client(window=0) as stalled, wire.h2_client() as other:
        for number in range(_STREAMS):
            stalled.get(f"/stalled/{number}")
        stalled.settle()
        eventually(lambda: len(wire.upstream.peers) >= _STREAMS)
        for _ in range(20):
            assert other.asks("/small").body == b"ok"
        assert wire.daemon.rss_kib() - before < 60_000


def _endless(peer: Peer) -> None:
    if peer.request().target == b"/small":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    with contextlib.suppress(Ended):
        for _ in range(40):
            peer.send(bytes(65_536))


def test_small_answers_pass_large_ones(wire: Wire) -> None:
    """Four downloads share their connection with small requests."""
    wire.upstream.script = _endless
    with wire.h2_client(window=1 << 30, receive_buffer=65_536) as client:
        for number in range(4):
            client.get(f"/large/{number}")
        while len(client.streams) < 4 or not all(client.streams[one].body for one in (1, 3, 5, 7)):
            client.step()
        for _ in range(5):
            asked = sum(len(one.body) for one in client.streams.values())
            assert client.asks("/small").body == b"ok"
            assert sum(len(one.body) for one in client.streams.values()) - asked < 1 << 20


def test_what_is_urgent_comes_sooner(wire: Wire) -> None:
    """RFC 9218: of two downloads that wait for room the urgent one gets nearly all of it, the other one a frame."""
    wire.upstream.script = _endless
    with wire.h2_client(window=0) as client:
        background, urgent = (client.get("/large", ("priority", f"u={one}")) for one in (6, 1))
        client.send(window_update(0, 1 << 20))
        eventually(lambda: len(wire.upstream.peers) == 2 and all(one.sent > 200_000 for one in wire.upstream.peers))
        client.settle()
        client.send(window_update(background, 1 << 20) + window_update(urgent, 1 << 20))
        got: list[int] = []
        while len(got) < 4:
            one = client.step()
            if one.kind == DATA:
                got.append(one.stream)
        assert got == [background, urgent, urgent, urgent]


def _upload(client: H2Client, stream: int) -> int:
    """Send as much of a body as there is room for; return how much that was."""
    sent = 0
    while True:
        room = min(client.settings[4] + client.windows.get(stream, 0), 65_535 + client.windows.get(0, 0)) - sent
        if room >= 16_384:
            client.send(frame(DATA, 0, stream, bytes(16_384)))
            sent += 16_384
            continue
        try:
            client.step(seconds=0.5)
        except TimeoutError:
            return sent


def test_an_upload_is_read_as_fast_as_it_is_taken(wire: Wire) -> None:
    """What the kernel does not take of it stays with the client, who gets a fault for more (RFC 9113 §6.9.1)."""
    wire.upstream.script = None
    wire.upstream.narrow(4096)
    before = wire.daemon.rss_kib()
    with wire.h2_client() as client:
        stream = client.post("/upload", ends=False)
        peer = wire.upstream.accept()
        peer.head()
        client.settle()
        assert _upload(client, stream) < 16 << 20
        assert wire.daemon.rss_kib() - before < 4_000
        client.send(*(frame(DATA, 0, stream, bytes(16_384)) for _ in range(20)))
        assert client.answer(stream).reset == 3
        assert peer.has_ended(5.0)
        client.settle()
