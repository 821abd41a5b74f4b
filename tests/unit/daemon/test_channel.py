"""Messages arrive whole and in order, whatever their size; what is broken is an error and no message."""

import asyncio
import os
import socket
from collections.abc import Iterator
from struct import pack

import pytest

from proxyd.daemon.channel import SOCKETS, Channel, Message, channel_pair, receive, send_sockets


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    pair = channel_pair()
    yield pair
    for end in pair:
        end.close()


async def received(end: socket.socket, count: int) -> list[tuple[Message, bytes]]:
    found: list[tuple[Message, bytes]] = []
    is_enough = asyncio.Event()

    def take(message: Message, payload: bytes) -> None:
        found.append((message, payload))
        if len(found) == count:
            is_enough.set()

    channel = Channel(end, take)
    async with asyncio.timeout(10):
        await is_enough.wait()
    channel.close()
    return found


async def test_more_than_the_socket_takes_at_once(ends: tuple[socket.socket, socket.socket]) -> None:
    sender = Channel(ends[0], lambda *_: None)
    messages = [{"number": number, "text": "x" * 5000} for number in range(1000)]
    for message in messages:
        sender.send(message)
    assert [message for message, _ in await received(ends[1], 1000)] == messages
    sender.close()


async def test_large_ones_and_payloads(ends: tuple[socket.socket, socket.socket]) -> None:
    sender = Channel(ends[0], lambda *_: None)
    large, payload = {"text": "x" * 3_000_000}, os.urandom(2_000_000)
    sender.send(large)
    sender.send({"a": 1}, payload)
    sender.send({})
    assert await received(ends[1], 3) == [(large, b""), ({"a": 1}, payload), ({}, b"")]
    sender.close()


async def test_who_never_reads_costs_bounded_memory(ends: tuple[socket.socket, socket.socket]) -> None:
    sender = Channel(ends[0], lambda *_: None)
    for number in range(30_000):
        sender.send({"number": number})
    found = await received(ends[1], 10_000)
    assert [message["number"] for message, _ in found[:10_000]] == [*range(10_000)]
    sender.close()


def test_a_payload_that_could_still_be_changed_is_refused(ends: tuple[socket.socket, socket.socket]) -> None:
    descriptor = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.write(descriptor, b"payload")
    ends[0].sendmsg([b"{}"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, pack("i", descriptor))])
    os.close(descriptor)
    with pytest.raises(OSError, match="not sealed"):
        receive(ends[1])
    with pytest.raises(BlockingIOError):
        receive(ends[1])


def test_the_end_of_the_other_process_is_no_message(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].close()
    assert receive(ends[1]) is None


@pytest.mark.parametrize("count", [0, 1, 50])
def test_sockets_travel_along(ends: tuple[socket.socket, socket.socket], count: int) -> None:
    sent = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    send_sockets(ends[0], {"listen": 7}, sent)
    found = receive(ends[1])
    assert found is not None
    message, payload = found
    came = message.pop(SOCKETS)
    assert (message, payload) == ({"listen": 7}, b"")
    assert [one.getsockname() for one in came or ()] == [one.getsockname() for one in sent]
    for one in (*sent, *(came or ())):
        one.close()
