"""Ten thousand names that nobody knows: no order, no file, bounded memory, and nobody else is kept waiting."""

import asyncio
import contextlib
import resource
import socket
import ssl
import statistics
import time
from collections import Counter
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop

from tests.support.ask import AskServer
from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess, eventually
from tests.support.upstream import Upstream

R = TypeVar("R")
LISTED = "listed.example.test"
WILDCARD = "*.apps.example.test"
NAMES = 10_000
UNKNOWN, LATER = b"\x70", b"\x50"
_PLACEHOLDER = b"name-00000"
#: No CA is there: an order would be seen as a failure in the log.
NO_CA = {"server": "https://127.0.0.1:1/dir"}


def hello_of() -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        name = f"{_PLACEHOLDER.decode()}.apps.example.test"
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


async def alerts(port: int, hellos: Iterable[tuple[bytes, str]], *, at_once: int = 100) -> Counter[bytes]:
    """Send each hello from its source address; count the last bytes of the answers: the alerts."""
    seen: Counter[bytes] = Counter()
    waiting = iter(hellos)

    async def worker() -> None:
        for hello, source in waiting:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            writer.write(hello)
            try:
                seen[(await reader.read(100))[-1:]] += 1
            except ConnectionError:
                seen[b"reset"] += 1
            writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
    return seen


def fast(flood: Coroutine[object, object, R]) -> R:
    """Run the flood without asyncio's debugging: the client shall not be what is slow."""
    with asyncio.Runner(debug=False, loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(flood)


def handshake_seconds(daemon: DaemonProcess, times: int = 15) -> float:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    taken = []
    for _ in range(times):
        began = time.monotonic()
        with (
            socket.create_connection(("127.0.0.1", daemon.https_port), 20) as raw,
            context.wrap_socket(raw, server_hostname=LISTED),
        ):
            taken.append(time.monotonic() - began)
    return statistics.median(taken)


def configure(daemon: DaemonProcess, upstream: Upstream, ask: AskServer | None) -> None:
    on_demand = {"ask": ask.url if ask else None, "max_new_per_day": 5}
    hosts: dict[str, object] = {
        LISTED: upstream.port,
        WILDCARD: {"upstream": upstream.port, "acme": {"on_demand": on_demand}},
    }
    daemon.cache.mkdir(mode=0o700, exist_ok=True)
    (daemon.cache / LISTED).write_bytes(make_pem(LISTED))
    daemon.configure(hosts, acme=NO_CA, log={"level": "info"})


def files(daemon: DaemonProcess) -> set[str]:
    return {one.name for one in daemon.cache.rglob("*") if one.is_file() and "sqlite" not in one.name}


def journal(daemon: DaemonProcess) -> int:
    ((events,),) = daemon.journal("SELECT count(*) FROM event")
    return int(events)


@pytest.mark.parametrize("kind", ["denied", "unknown", "no ask"])
def test_ten_thousand_random_names(daemon: DaemonProcess, upstream: Upstream, kind: str) -> None:
    with AskServer(lambda _: 403) as ask:
        configure(daemon, upstream, None if kind == "no ask" else ask)
        daemon.start()
        eventually(lambda: handshake_seconds(daemon, 1), what=daemon.log)
        quiet, before, kept, written = handshake_seconds(daemon), daemon.rss_kib(), files(daemon), journal(daemon)
        template = hello_of()
        if kind == "unknown":
            template = template.replace(b".apps.", b".nope.")
        # From 500 networks, each under its limit, so that every name gets as far as it can.
        hellos = (
            (template.replace(_PLACEHOLDER, b"name-%05d" % number), f"127.{1 + number % 2}.{number // 2 % 250}.9")
            for number in range(NAMES)
        )

        async def flood() -> tuple[Counter[bytes], float]:
            running = asyncio.create_task(alerts(daemon.https_port, hellos))
            await asyncio.sleep(1)
            busy = await asyncio.to_thread(handshake_seconds, daemon)
            return await running, busy

        seen, busy = fast(flood())
        assert sum(seen.values()) == NAMES
        assert busy < quiet + 1.0, (quiet, busy)
        assert daemon.rss_kib() - before < 40 * 1024
        assert "Traceback" not in daemon.log()
        assert len(daemon.log().splitlines()) < 60
        assert handshake_seconds(daemon) < quiet + 1.0
        assert daemon.stop() == 0
        match kind:
            case "denied":
                assert seen[UNKNOWN] + seen[LATER] == NAMES
                assert seen[UNKNOWN] > NAMES * 0.9
                assert len(ask.asked) <= NAMES
                assert "no certificate" not in daemon.log()
            case "unknown":
                assert seen == {UNKNOWN: NAMES}
                assert ask.asked == []
                assert "no certificate" not in daemon.log()
            case _:
                assert seen == {LATER: NAMES}
                assert daemon.log().count("a new name on demand") == 5
        assert files(daemon) == kept
        assert journal(daemon) - written < 100


def test_five_thousand_hellos_that_wait(daemon: DaemonProcess, upstream: Upstream) -> None:
    """One network: 64 wait for the answer of `ask` that never comes, the others are told at once to come later."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 12_000), hard), hard))
    with AskServer(lambda _: None) as ask:
        configure(daemon, upstream, ask)
        daemon.start()
        eventually(lambda: handshake_seconds(daemon, 1), what=daemon.log)
        quiet, before = handshake_seconds(daemon), daemon.rss_kib()
        hello, began = hello_of(), time.monotonic()
        with contextlib.ExitStack() as stack:
            connections = []
            for _ in range(5000):
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.https_port), 30))
                raw.sendall(hello)
                connections.append(raw)
            busy = handshake_seconds(daemon)
            seen = Counter(raw.recv(100)[-1:] for raw in connections)
        seconds = time.monotonic() - began
        assert seen == {LATER: 5000}
        assert seconds < 30
        assert busy < quiet + 1.0, (quiet, busy)
        assert daemon.rss_kib() - before < 40 * 1024
        assert len(ask.asked) <= 2  # again only when it took longer than the 15 s for which no answer counts
        descriptors = len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())) if daemon.process else 0
        assert descriptors < 100
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log()
