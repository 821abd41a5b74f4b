"""1xx answers, Expect, and answers that come before the request is whole."""

import pytest

from tests.support.raw_client import Truncated
from tests.support.raw_upstream import Peer, answer
from tests.support.wire import LINGERING, SMUGGLED, Wire, cases, request

_EXPECT = (b"Content-Length: 5", b"Expect: 100-continue")
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nlink: </b.js>\r\n\r\n"


def test_103_is_relayed_when_it_comes(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request())
        peer = wire.upstream.accept()
        peer.request()
        for _ in range(2):
            peer.send(_HINTS)
            hints = client.answer(seconds=1.0)
            assert hints.first == b"HTTP/1.1 103 Early Hints"
            assert hints.lines == (b"Link: </a.css>; rel=preload", b"link: </b.js>")
        peer.send(_OK)
        assert client.answer().body == b"ok"


def test_102_is_relayed(wire: Wire) -> None:
    wire.upstream.script = answer(b"HTTP/1.1 102 Processing\r\n\r\n" + _OK)
    with wire.client() as client:
        client.send(request())
        assert [client.answer().status for _ in range(2)] == [102, 200]


def test_a_client_of_http_1_0_gets_no_1xx(wire: Wire) -> None:
    wire.upstream.script = answer(_HINTS + _OK)
    with wire.client() as client:
        client.send(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.answer().status == 200


def test_1xx_before_bodyless_answers(wire: Wire) -> None:
    wire.upstream.script = answer(_HINTS + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    with wire.client() as client:
        for _ in range(2):
            client.send(request(method=b"HEAD"))
            assert [client.answer(b"HEAD").status for _ in range(2)] == [103, 200]


def test_a_flood_of_1xx_ends(wire: Wire) -> None:
    """Nobody needs a thousand. The client gets 502 or the end, the upstream the end."""

    def flood(peer: Peer) -> None:
        peer.request()
        while True:
            peer.send(_HINTS * 100)

    wire.upstream.script = flood
    before = wire.daemon.rss_kib()
    with wire.client() as client:
        client.send(request())
        count = 0
        try:
            while (one := client.answer()).status < 200:
                count += 1
                assert count < 1000
            assert one.status == 502
        except Truncated:
            pass
    assert wire.upstream.peers[0].has_ended()
    assert wire.daemon.rss_kib() - before < 8 << 10


@cases(
    ("a length", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 41\r\n\r\n"),
    ("a coding", b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"),
)
def test_1xx_has_no_body(wire: Wire, attack: bytes) -> None:
    """RFC 9110 §8.6: no framing in it; without its framing lines it may be relayed."""
    wire.upstream.script = answer(attack + _OK)
    with wire.client() as client:
        client.send(request())
        statuses = [(one := client.answer()).status]
        if statuses == [103]:
            statuses.append((one := client.answer()).status)
        assert statuses in ([103, 200], [200], [502])
        assert statuses[-1] == 502 or one.body == b"ok"


@cases(
    ("to nobody who asked", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("without Upgrade", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ("to a list of nothing", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: , ,\r\n\r\n"),
)
def test_a_101_that_nobody_asked_for_is_a_502(wire: Wire, attack: bytes) -> None:
    wire.upstream.script = answer(attack + _OK)
    with wire.client() as client:
        client.send(request())
        assert client.answer().status == 502
    assert wire.upstream.peers[0].has_ended()


def test_100_comes_from_the_upstream_and_only_then(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(*_EXPECT, method=b"POST"))
        peer = wire.upstream.accept()
        assert b"\r\nexpect: 100-continue\r\n" in peer.head().lower()
        assert client.is_silent(0.3)
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert client.answer().status == 100
        assert peer.is_idle(0.05)
        client.send(b"hello")
        assert peer.exactly(5) == b"hello"
        peer.send(_OK)
        assert client.answer().status == 200
        client.send(request(target=b"/next"))
        assert peer.request().target == b"/next"
        peer.send(_OK)
        assert client.answer().status == 200


@pytest.mark.parametrize("patient", [False, True], ids=["body at once", "body after a while"])
def test_an_upstream_that_ignores_expect_gets_the_body(wire: Wire, patient: bool) -> None:
    """A client that waits for 100 in vain sends it after a while (RFC 9110 §10.1.1); somebody may tell it before."""
    with wire.client() as client:
        client.send(request(*_EXPECT, method=b"POST", target=b"/p"))
        if patient and not client.is_silent(1.5):
            assert client.answer().status == 100
        client.send(b"hello")
        assert client.final().body == b"POST /p hello"


def test_expect_with_chunks(wire: Wire) -> None:
    with wire.client() as client:
        client.send(request(b"Transfer-Encoding: chunked", b"Expect: 100-continue", method=b"POST", target=b"/p"))
        client.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert client.final().body == b"POST /p hello"


def test_a_refusal_instead_of_100_ends_the_connection(wire: Wire) -> None:
    """Nobody can tell whether the client sends the body now: what follows is not read as a request."""
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(b"Content-Length: %d" % len(SMUGGLED), b"Expect: 100-continue", method=b"POST"))
        peer = wire.upstream.accept()
        peer.head()
        peer.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
        one = client.answer()
        assert (one.status, one.body) == (417, b"no")
        assert one.value(b"Connection").lower() == b"close"
        client.send(SMUGGLED)
        assert client.has_ended(LINGERING)
    assert peer.has_ended()
    assert [received.count(b"X-Request-ID") for received in wire.upstream.received()] == [1]


@cases(
    ("unknown", b"Expect: x\r\n"),
    ("known and unknown", b"Expect: 100-continue, x\r\n"),
    ("a letter after it", b"Expect: 100-continuex\r\n"),
    ("a prefix", b"Expect: y 100-continue\r\n"),
    ("two lines, the last unknown", b"Expect: 100-continue\r\nExpect: x\r\n"),
    ("with a parameter", b"Expect: 100-continue;x=y\r\n"),
    ("folded", b"Expect:\r\n 100-continue\r\n"),
)
def test_another_expectation_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(
        request(attack[:-2], b"Content-Length: 5", method=b"POST", target=b"/smuggled", body=b"hello"), 400, 417
    )


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
def test_expect_without_a_body_changes_nothing(wire: Wire, method: bytes) -> None:
    """Expect desync: nobody waits for a body that does not come, and none is taken from what follows."""
    with wire.client() as client:
        client.send(request(b"Expect: 100-continue", method=method, target=b"/a"))
        one = client.final(method)
        assert one.status == 200
        if not one.values(b"Connection"):
            client.send(request(target=b"/b"))
            assert client.final().body == b"GET /b "
    wire.victim()
    assert set(wire.upstream.targets()) <= {b"/a", b"/b", b"/victim"}


def test_expect_in_http_1_0_is_ignored(wire: Wire) -> None:
    """RFC 9110 §10.1.1: a server must ignore it."""
    with wire.client() as client:
        client.send(request(*_EXPECT, method=b"POST", target=b"/p", body=b"hello").replace(b"HTTP/1.1", b"HTTP/1.0"))
        one = client.answer()
        assert (one.status, one.body) == (200, b"POST /p hello")


def test_an_early_final_answer_reaches_the_client_while_it_uploads(wire: Wire) -> None:
    """The rest of the body is not a request, neither for us nor for the upstream."""
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(b"Content-Length: 1000000", method=b"POST", body=b"x" * 1000))
        peer = wire.upstream.accept()
        peer.head()
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        one = client.answer(seconds=1.0)
        assert (one.status, one.body) == (413, b"no")
        assert one.value(b"Connection").lower() == b"close"
        client.send(SMUGGLED)
        assert client.has_ended(LINGERING)
    assert peer.has_ended(LINGERING)
    assert [received.count(b"X-Request-ID") for received in wire.upstream.received()] == [1]


def test_an_early_final_answer_is_not_lost_when_the_upstream_closes(wire: Wire) -> None:
    """The client is still sending: it gets the answer all the same, before the end."""
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(b"Content-Length: 10000000", method=b"POST", body=b"x" * 100_000))
        peer = wire.upstream.accept()
        peer.head()
        peer.send(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        peer.close()
        client.send(*[b"x" * 65536] * 8, pause=0.01)
        one = client.answer(seconds=2.0)
        assert (one.status, one.body) == (403, b"no")


def test_an_early_streaming_answer_and_the_upload_go_on_together(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(b"Transfer-Encoding: chunked", method=b"POST", body=b"5\r\nfirst\r\n"))
        peer = wire.upstream.accept()
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b"200 OK" in client.head(seconds=1.0)
        for number in range(5):
            client.send(b"1\r\n%d\r\n" % number)
            peer.until(b"%d\r\n" % number)
            peer.send(b"1\r\n%d\r\n" % number)
            assert client.exactly(6, seconds=1.0) == b"1\r\n%d\r\n" % number
        client.send(b"0\r\n\r\n")
        peer.until(b"0\r\n\r\n")
        peer.send(b"0\r\n\r\n")
        assert client.exactly(5, seconds=1.0) == b"0\r\n\r\n"
