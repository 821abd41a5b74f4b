"""What an upstream gets is the same, to the byte, whoever reads a request: our front, or aiohttp (`fast_path: false`)
with its parser in C or in Python, which it has where there is no wheel for the machine.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.support import wire_message
from tests.support.corpus import MALFORMED, REQUESTS
from tests.support.wire import Wire, request, running
from tests.support.wire_message import Message

_IN_C, _IN_PYTHON = {"AIOHTTP_NO_EXTENSIONS": ""}, {"AIOHTTP_NO_EXTENSIONS": "1"}
FRONTS = {
    "ours": (True, _IN_C),
    "ours without C": (True, _IN_PYTHON),
    "aiohttp": (False, _IN_C),
    "aiohttp without C": (False, _IN_PYTHON),
}
#: Fields that aiohttp wants once, although it need not understand them.
_SINGLETONS = {"names twice that are for once", "two types"}
#: Methods that llhttp has no number for, bytes that it does not take in a target, a tab that it takes for the coding.
_BY_LLHTTP = {"method VERSION-CONTROL", "method A_1", "method " + "X" * 32, "target /é€?ü", "target beyond UTF-8"}
#: What a parser of aiohttp's refuses although our scanner took it: who does without the fast path has to live with it.
REFUSED: dict[str, set[str]] = {
    "ours without C": set(),
    "aiohttp": {*_BY_LLHTTP, *_SINGLETONS, "chunked in tabs"},
    "aiohttp without C": _SINGLETONS,
}
_ID = re.compile(rb"X-Request-ID: [0-9a-f]+")


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Wire]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                running(tmp_path_factory.mktemp("front"), {}, {"fast_path": fast_path}, environment)
            )
            for name, (fast_path, environment) in FRONTS.items()
        }


@pytest.mark.parametrize("name", FRONTS)
def test_aiohttp_has_the_parser_that_it_was_told_to_have(fronts: dict[str, Wire], name: str) -> None:
    _, environment = FRONTS[name]
    assert fronts[name].daemon.has_loaded("/aiohttp/_http_parser") == (environment is _IN_C)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_upstream_cannot_tell_them_apart(fronts: dict[str, Wire], name: str) -> None:
    answer, ours = _asked(fronts["ours"], REQUESTS[name])
    assert (answer.status, len(ours)) == (200, 1)
    for front, refused in REFUSED.items():
        other_answer, others = _asked(fronts[front], REQUESTS[name])
        if name in refused:
            assert (other_answer.status, others) == (400, []), front
        else:
            assert others == ours, front
            assert (other_answer.status, other_answer.body) == (answer.status, answer.body), front


@pytest.mark.parametrize("name", MALFORMED)
def test_all_refuse_what_is_malformed(fronts: dict[str, Wire], name: str) -> None:
    statuses = set()
    for wire in fronts.values():
        answer, seen = _asked(wire, MALFORMED[name])
        assert not seen
        statuses.add(answer.status)
    assert len(statuses) == 1
    assert min(statuses) >= 400


def test_pipelined_requests_are_the_same_too(fronts: dict[str, Wire]) -> None:
    sent = request(target=b"/1") + request(b"Content-Length: 1", method=b"POST", target=b"/2", body=b"x")
    sent += request(b"Transfer-Encoding: chunked", method=b"PUT", target=b"/3", body=b"1\r\nx\r\n0\r\n\r\n") + request()
    found = []
    for wire in fronts.values():
        wire.upstream.reset()
        with wire.client() as client:
            client.send(sent)
            assert [client.final().body for _ in range(4)] == [b"GET /1 ", b"POST /2 x", b"PUT /3 x", b"GET / "]
        found.append(_whole(wire))
    assert len(found[0]) == 4
    assert all(one == found[0] for one in found)


def _asked(wire: Wire, sent: bytes) -> tuple[Message, list[Message]]:
    """Return the answer, and what the upstream has seen of it."""
    wire.upstream.reset()
    with wire.client() as client:
        client.send(sent)
        answer = client.final(sent.strip().split(b" ")[0])
    assert not wire.upstream.failures
    # The page of an error shows the id of its request.
    return replace(answer, body=b"") if answer.status >= 400 else answer, _whole(wire)


def _whole(wire: Wire) -> list[Message]:
    """Return the whole requests at the upstream: all of them but their ids, and how a body was cut into chunks."""
    whole = [one for received in wire.upstream.received() for one in wire_message.requests(received)[0]]
    return [replace(one, lines=tuple(_ID.sub(b"X-Request-ID: 1", line) for line in one.lines)) for one in whole]
