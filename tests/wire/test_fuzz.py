"""Messages with random faults: who is on the other side sees what a strict reader sees, or nothing."""

import contextlib
from collections import Counter

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support import wire_message
from tests.support.raw_client import Truncated
from tests.support.raw_upstream import answer
from tests.support.wire import HOST_LINE, Wire, request
from tests.support.wire_message import Ambiguous, Incomplete, Message

_LAST = request(b"Connection: close", target=b"/last")
_CHUNKED = b"POST /chunked HTTP/1.1\r\n" + HOST_LINE + b"Transfer-Encoding: chunked\r\n\r\n"
_WHOLE = [
    request(target=b"/get"),
    request(b"X: y", b"Accept: */*", target=b"/fields?"),
    request(b"Content-Length: 23", method=b"POST", target=b"/length", body=b"GET /smuggled HTTP/1.1\n"),
    request(b"Content-Length: 0", method=b"POST", target=b"/zero"),
    request(b"Connection: keep-alive, X", b"X: y", target=b"/connection"),
    _CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    _CHUNKED + b"b;a=b\r\nhello world\r\n0\r\nX-Trailer: y\r\n\r\n",
    _CHUNKED + b"1A\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
]
_ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1A\r\nHTTP/1.1 200 OK\r\n\r\npoison!\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 38\r\nVary: *\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 500 \r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]
_FAULTS = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"5", b"\x0b", b"\x7f"]
_FAULTS += [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"\r\n ", b"HTTP/1.1", b"_"]
_FAULTS += [b"Content-Length: 6\r\n", b"Content-Length : 5\r\n", b"Transfer-Encoding:\x0bchunked\r\n", b"\xa0", b"x"]
_FAULTS += [HOST_LINE]
_places = st.floats(0, 1, exclude_max=True)
_edits = st.tuples(_places, st.sampled_from(["insert", "replace", "delete"]), st.sampled_from(_FAULTS))
_wholes = st.lists(st.sampled_from(_WHOLE), min_size=1, max_size=3)


def _edited(data: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    for place, kind, fault in edits:
        at = int(place * len(data))
        end = at if kind == "insert" else at + (len(fault) if kind == "replace" else 1)
        data = data[:at] + (b"" if kind == "delete" else fault) + data[end:]
    return data


def _readable(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Return the requests at the beginning that can be read in one way only."""
    found = []
    while data:
        try:
            one, data = wire_message.request(data.removeprefix(b"\r\n"), is_original=True)
        except (Ambiguous, Incomplete):
            break
        found.append((one.method, one.target, one.body))
    return found


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(wholes=_wholes, edits=st.lists(_edits, min_size=1, max_size=3), cut=_places)
@example(wholes=_WHOLE, edits=[], cut=0.5)
def test_the_upstream_sees_what_a_strict_reader_sees(
    wire_of_module: Wire, wholes: list[bytes], edits: list[tuple[float, str, bytes]], cut: float
) -> None:
    wire = wire_of_module
    wire.upstream.reset()
    data = _edited(b"".join(wholes), edits) + _LAST
    readable = _readable(data)
    at = int(cut * len(data))
    with wire.client() as client:
        client.send(data[:at], data[at:])
        answers: list[Message] = []
        try:
            while len(answers) < len(readable) + 1:
                answers.append(client.final(seconds=0.5 if len(answers) < len(readable) else 0.05))
                if answers[-1].values(b"Connection"):
                    break
        except (TimeoutError, Truncated):
            pass
    seen = Counter[tuple[bytes, bytes, bytes]]()
    for received in wire.upstream.received():
        whole, _ = wire_message.requests(received)
        seen.update((one.method, one.target, one.body) for one in whole)
    assert seen <= Counter(readable), data
    assert seen.total() == len([one for one in answers if one.status == 200]), data
    wire.victim()


def _answer(data: bytes) -> tuple[int, bytes] | None:
    """Return status and body of the final answer that can be read in one way only."""
    try:
        while True:
            one, data = wire_message.response(data, ended=True, is_original=True)
            if one.status >= 200:
                return one.status, one.body
            if one.status == 101:
                return None
    except (Ambiguous, Incomplete):
        return None


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(whole=st.sampled_from(_ANSWERS), edits=st.lists(_edits, min_size=1, max_size=3), cut=_places)
@example(whole=_ANSWERS[1], edits=[], cut=0.5)
def test_the_client_sees_what_a_strict_reader_sees(
    wire_of_module: Wire, whole: bytes, edits: list[tuple[float, str, bytes]], cut: float
) -> None:
    wire = wire_of_module
    wire.upstream.reset()
    data = _edited(whole, edits)
    at = int(cut * len(data))
    wire.upstream.script = answer(data[:at], data[at:], end="close")
    with wire.client() as client:
        client.send(request(b"TE: trailers", b"Connection: TE"))
        seen: tuple[int, bytes] | None = None
        with contextlib.suppress(Truncated):
            one = client.final()
            seen = one.status, one.body
    readable = _answer(data)
    assert seen is None or seen[0] == 502 or seen == readable, data
    wire.upstream.reset()
    wire.victim()
