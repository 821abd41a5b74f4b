"""WebSocket as its users have it: the `websockets` library on both sides, and the daemon in between."""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event
from websockets.typing import Subprotocol

from pebble.server import free_port
from tests.support.daemon import DaemonProcess, eventually
from tests.support.wire import HOST, OTHER, Wire, request

_LARGE = 100 << 20
_MOST_KIB = 64 << 10
_WISH = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)


class _Watched(Connection):
    """Keeps every frame as it came, and counts the bytes they came in."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.frames: list[tuple[Opcode, bool, bytes]] = []
        self.size = 0

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        super().data_received(data)

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame):
            self.frames.append((event.opcode, event.fin, bytes(event.data)))
        super().process_event(event)


class _Client(_Watched, ClientConnection): ...


class _Server(_Watched, ServerConnection): ...


class Pair(NamedTuple):
    """The two ends of a tunnel."""

    client: _Client
    server: _Server

    def ends(self, direction: str) -> tuple[_Watched, _Watched]:
        """Return who sends and who receives."""
        return (self.client, self.server) if direction == "up" else (self.server, self.client)


both_ways = pytest.mark.parametrize("direction", ["up", "down"])


@pytest.fixture(scope="module")
def host_options() -> dict[str, Any]:
    """The upstream is a server that each test starts as it wants it."""
    return {"upstream": free_port()}


@pytest.fixture
def port(host_options: dict[str, Any]) -> int:
    port: int = host_options["upstream"]
    return port


@asynccontextmanager
async def _serving(port: int, **options: Any) -> AsyncIterator[asyncio.Queue[_Server]]:
    """Run the upstream; what it accepts comes by the queue."""
    accepted: asyncio.Queue[_Server] = asyncio.Queue()

    async def serve_one(connection: ServerConnection) -> None:
        assert isinstance(connection, _Server)
        accepted.put_nowait(connection)
        await connection.wait_closed()

    options = {"max_size": None, "compression": None, **options}
    async with serve(serve_one, "127.0.0.1", port, create_connection=_Server, **options):
        yield accepted


def _connect(wire: Wire, path: str = "/", *, name: str = HOST, **options: Any) -> connect:
    """Return a client of the daemon, which verifies its certificate for the name."""
    context = wire.other_context if name == OTHER else wire.context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    where: dict[str, Any] = {"host": "127.0.0.1", "port": wire.daemon.https_port, "ssl": context, "proxy": None}
    options = {"max_size": None, "compression": None, **options}
    return connect(f"wss://{name}{path}", create_connection=_Client, **where, **options)


@asynccontextmanager
async def _pair(
    wire: Wire, port: int, *, of_server: dict[str, Any] | None = None, **of_client: Any
) -> AsyncIterator[Pair]:
    async with _serving(port, **(of_server or {})) as accepted, _connect(wire, **of_client) as client:
        assert isinstance(client, _Client)
        yield Pair(client, await accepted.get())


async def test_the_upstream_sees_who_asks_for_what(wire: Wire, port: int) -> None:
    async with _serving(port) as accepted, _connect(wire, "/chat?room=1&x=%2F", origin=f"https://{HOST}"):
        asked = (await accepted.get()).request
    assert asked is not None
    assert asked.path == "/chat?room=1&x=%2F"
    assert (asked.headers["Host"], asked.headers["Origin"]) == (HOST, f"https://{HOST}")
    assert (asked.headers["X-Forwarded-For"], asked.headers["X-Forwarded-Proto"]) == ("127.0.0.1", "https")


@both_ways
@pytest.mark.parametrize(
    "message",
    ["", "hello", "grüße 😀\0\r\n", b"", b"\0", bytes(range(256)) * 300, "x" * 125, "x" * 126, b"x" * 65_536],
    ids=["no text", "text", "beyond ASCII", "no bytes", "NUL", "all bytes", "125", "126", "65536"],
)
async def test_a_message_arrives_as_it_was_sent(wire: Wire, port: int, direction: str, message: str | bytes) -> None:
    async with _pair(wire, port) as pair:
        sender, receiver = pair.ends(direction)
        await sender.send(message)
        assert await receiver.recv() == message
    opcode, data = (Opcode.TEXT, message.encode()) if isinstance(message, str) else (Opcode.BINARY, message)
    assert receiver.frames[0] == (opcode, True, data)


@both_ways
async def test_fragments_stay_the_fragments_they_were(wire: Wire, port: int, direction: str) -> None:
    """A proxy that put them together would hold a message of any length, and delay what is a stream."""
    async with _pair(wire, port) as pair:
        sender, receiver = pair.ends(direction)
        await sender.send(["he", "", "llo ", "w" * 70_000, "orld"])
        await sender.send([b"\x00", b"\xff" * 126])
        assert await receiver.recv() == "hello " + "w" * 70_000 + "orld"
        assert await receiver.recv() == b"\x00" + b"\xff" * 126
    more, last = (Opcode.CONT, False), (Opcode.CONT, True, b"")
    assert receiver.frames[:9] == [
        (Opcode.TEXT, False, b"he"),
        (*more, b""),
        (*more, b"llo "),
        (*more, b"w" * 70_000),
        (*more, b"orld"),
        last,
        (Opcode.BINARY, False, b"\x00"),
        (*more, b"\xff" * 126),
        last,
    ]


@both_ways
async def test_a_fragment_arrives_before_the_next_one_is_sent(wire: Wire, port: int, direction: str) -> None:
    async with _pair(wire, port) as pair:
        sender, receiver = pair.ends(direction)
        arrived = receiver.recv_streaming(decode=True)

        async def fragments() -> AsyncIterator[str]:
            yield "first"
            async with asyncio.timeout(5):
                assert await anext(arrived) == "first"
            yield "second"

        await sender.send(fragments())
        assert [one async for one in arrived] == ["second", ""]


@both_ways
@pytest.mark.parametrize("payload", [b"", b"payload", bytes(range(125))], ids=["empty", "short", "longest"])
async def test_a_ping_is_answered_by_the_other_end(wire: Wire, port: int, direction: str, payload: bytes) -> None:
    """Not by the daemon: the other end sees the ping, and answers with its payload."""
    async with _pair(wire, port) as pair:
        sender, receiver = pair.ends(direction)
        async with asyncio.timeout(5):
            await (await sender.ping(payload))
        assert receiver.frames == [(Opcode.PING, True, payload)]
        assert sender.frames == [(Opcode.PONG, True, payload)]


@both_ways
async def test_a_pong_that_nobody_asked_for_arrives_and_a_ping_may_come_between_fragments(
    wire: Wire, port: int, direction: str
) -> None:
    async with _pair(wire, port) as pair:
        sender, receiver = pair.ends(direction)

        async def fragments() -> AsyncIterator[bytes]:
            yield b"a"
            await sender.pong(b"beat")
            await sender.ping(b"alive")
            yield b"b"

        await sender.send(fragments())
        assert await receiver.recv() == b"ab"
    assert [frame[0] for frame in receiver.frames[:5]] == [
        *(Opcode.BINARY, Opcode.PONG, Opcode.PING, Opcode.CONT, Opcode.CONT)
    ]
    assert receiver.frames[1:3] == [(Opcode.PONG, True, b"beat"), (Opcode.PING, True, b"alive")]


@both_ways
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "done"), (1001, "going away"), (3000, "ü" * 61), (4999, "own")]
)
async def test_code_and_reason_of_the_end_arrive(wire: Wire, port: int, direction: str, code: int, reason: str) -> None:
    async with _pair(wire, port) as pair:
        closing, other = pair.ends(direction)
        async with asyncio.timeout(5):
            await closing.close(code, reason)
            await other.wait_closed()
        assert (other.close_code, other.close_reason) == (code, reason)
        assert (closing.close_code, closing.close_reason) == (code, reason), "what the other end echoed"


@pytest.mark.parametrize(
    ("offered", "spoken", "chosen"),
    [(["chat.v2", "chat.v1"], ["chat.v1"], "chat.v1"), (["a", "b"], ["b", "a"], "b"), (["a"], None, None)],
)
async def test_a_subprotocol_is_agreed_on_by_the_ends(
    wire: Wire, port: int, offered: list[str], spoken: list[str] | None, chosen: str | None
) -> None:
    def choose(_: ServerConnection, wanted: list[Subprotocol]) -> Subprotocol | None:
        assert wanted == offered
        return next((Subprotocol(one) for one in spoken or () if one in wanted), None)

    of_server = {"subprotocols": spoken, "select_subprotocol": choose if spoken else None}
    async with _pair(wire, port, of_server=of_server, subprotocols=offered) as pair:
        assert (pair.client.subprotocol, pair.server.subprotocol) == (chosen, chosen)


@both_ways
async def test_compression_is_agreed_on_and_used_by_the_ends(wire: Wire, port: int, direction: str) -> None:
    wanted = [ClientPerMessageDeflateFactory(server_max_window_bits=10, client_max_window_bits=11)]
    async with _pair(wire, port, of_server={"compression": "deflate"}, extensions=wanted) as pair:
        answers = [one.response.headers["Sec-WebSocket-Extensions"] for one in pair if one.response is not None]
        assert answers[0] == answers[1]
        assert "server_max_window_bits=10" in answers[0]
        sender, receiver = pair.ends(direction)
        before = receiver.size
        for _ in range(3):  # each with what the one before left in the window
            await sender.send("proxyd " * 100_000)
            assert await receiver.recv() == "proxyd " * 100_000
        assert receiver.size - before < 30_000


async def test_without_a_wish_for_it_nothing_is_compressed(wire: Wire, port: int) -> None:
    async with _pair(wire, port, of_server={"compression": "deflate"}) as pair:
        assert not pair.client.protocol.extensions + pair.server.protocol.extensions
        await pair.client.send("x" * 100_000)
        assert await pair.server.recv() == "x" * 100_000
        assert pair.server.size > 100_000


@both_ways
async def test_a_message_of_100_mb_arrives_and_is_never_held(wire: Wire, port: int, direction: str) -> None:
    """Not even when the receiver takes nothing for a while: the sender waits."""
    message = random.Random(1).randbytes(_LARGE)
    before = wire.daemon.rss_kib()
    async with _pair(wire, port) as pair, asyncio.TaskGroup() as group:
        sender, receiver = pair.ends(direction)
        receiver.transport.pause_reading()
        group.create_task(sender.send(message))
        await asyncio.to_thread(_steady, wire.daemon.rss_kib)
        receiver.transport.resume_reading()
        arrived = await receiver.recv()
        is_same = arrived == message  # pytest would show the difference
        assert is_same
    assert wire.daemon.peak_kib() - before < _MOST_KIB


def _steady(value: Callable[[], int]) -> None:
    """Wait until a value stays the same for a while."""
    before = -1
    while before != (before := value()):
        time.sleep(0.3)


async def test_many_small_messages_arrive_in_order_both_ways_at_once(wire: Wire, port: int) -> None:
    count = 5000
    async with _pair(wire, port) as pair:

        async def send(end: _Watched) -> None:
            for number in range(count):
                await end.send(str(number) if number % 2 else b"%d" % number)

        async def receive(end: _Watched) -> None:
            for number in range(count):
                assert await end.recv() == (str(number) if number % 2 else b"%d" % number)

        async with asyncio.TaskGroup() as group:
            for end in pair:
                group.create_task(send(end))
                group.create_task(receive(end))


async def test_messages_of_many_tunnels_are_not_mixed_up(wire: Wire, port: int) -> None:
    async def talk(number: int) -> None:
        async with _connect(wire, f"/{number}", name=OTHER if number % 2 else HOST) as client:
            for count in range(50):
                await client.send(f"{number} {count}")
                assert await client.recv() == f"/{number} {number} {count}"

    async def echo(connection: ServerConnection) -> None:
        assert connection.request is not None
        async for message in connection:
            await connection.send(f"{connection.request.path} {message!s}")

    async with serve(echo, "127.0.0.1", port), asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(talk(number))


def _refusing(*statuses: HTTPStatus) -> Callable[[ServerConnection, Request], Response | None]:
    """Refuse with these, one after the other; then accept."""
    left = list(statuses)

    def refuse(connection: ServerConnection, _: Request) -> Response | None:
        return connection.respond(left.pop(0), "not you\n") if left else None

    return refuse


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE])
async def test_a_refusal_of_the_upstream_is_its_own(wire: Wire, port: int, status: HTTPStatus) -> None:
    async with _serving(port, process_request=_refusing(status)):
        with pytest.raises(InvalidStatus) as refused:
            async with _connect(wire):
                pass
    answer = refused.value.response
    assert (answer.status_code, answer.reason_phrase, answer.body) == (status, status.phrase, b"not you\n")


async def test_after_a_refusal_the_connection_may_try_again(wire: Wire, port: int) -> None:
    def ask() -> None:
        with wire.client() as client:
            for status in (403, 401):
                client.send(request(*_WISH))
                refused = client.answer()
                assert (refused.status, refused.body) == (status, b"not you\n")
            client.send(request(*_WISH))
            granted = client.answer()
            assert granted.value(b"Sec-WebSocket-Accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            client.send(b"\x89\x80\0\0\0\0")  # a ping; its pong comes from behind the daemon
            assert client.exactly(2) == b"\x8a\x00"

    async with _serving(port, process_request=_refusing(HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED)):
        await asyncio.to_thread(ask)


@both_ways
@pytest.mark.parametrize("where", ["between messages", "within a message"])
async def test_an_abrupt_end_of_one_side_is_one_for_the_other(
    wire: Wire, port: int, direction: str, where: str
) -> None:
    """Within a second; and what was cut is never taken for a whole message, or for a proper end."""
    async with _pair(wire, port) as pair:
        leaving, other = pair.ends(direction)
        await leaving.send("last words")
        if where == "within a message":
            leaving.protocol.send_text(b"hal", fin=False)
            leaving.send_data()
        await (await other.ping())  # what was sent before has arrived
        leaving.transport.abort()
        async with asyncio.timeout(1.0):
            assert await other.recv() == "last words"
            with pytest.raises(ConnectionClosedError) as ended:
                await other.recv()
        assert ended.value.rcvd is None
        assert other.close_code == 1006


@pytest.mark.parametrize("changed", [{}, {"upstream": 9}], ids=["nothing changed", "another host changed"])
async def test_tunnels_survive_a_reload_and_keep_passing_messages(
    wire: Wire, port: int, changed: dict[str, Any]
) -> None:
    """A page that is open all day is not cut because somebody adds a host."""
    before = wire.daemon.file.read_text()
    config = yaml.safe_load(before)
    config["hosts"][OTHER] |= changed
    async with _pair(wire, port) as pair, asyncio.TaskGroup() as group:
        talking = group.create_task(_talk(pair))
        try:
            for text in (yaml.safe_dump(config), before):
                await asyncio.to_thread(_reload, wire.daemon, text)
                await asyncio.to_thread(_goes_on, pair)
        finally:
            wire.daemon.file.write_text(before)
            talking.cancel()


def _reload(daemon: DaemonProcess, text: str) -> None:
    before = daemon.log().count("reloaded")
    daemon.file.write_text(text)
    daemon.reload()
    eventually(lambda: daemon.log().count("reloaded") > before, what=daemon.log)


def _goes_on(pair: Pair) -> None:
    before = len(pair.server.frames)
    eventually(lambda: len(pair.server.frames) > before + 20)


async def _talk(pair: Pair) -> None:
    number = 0
    while True:
        number += 1
        await pair.client.send(f"up {number}")
        assert await pair.server.recv() == f"up {number}"
        await pair.server.send(f"down {number}")
        assert await pair.client.recv() == f"down {number}"
