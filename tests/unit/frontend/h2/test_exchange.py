"""One stream, as who serves it sees it; its client is the `h2` package."""

import h2.config
import h2.connection
import h2.events
import pytest

from tests.support.h2_engine import HOST, Bench, Request

_FIELDS = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/")]


class Client:
    """Of a bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.exchange()

    def exchange(self) -> None:
        """Carry bytes both ways until there are none."""
        while True:
            sent, got = self.h2.data_to_send(), self.bench.taken()
            if sent:
                self.bench.engine.receive(sent)
            if got:
                self.events += self.h2.receive_data(got)
            if not sent and not got:
                return

    def ask(self, *more: tuple[str, str], method: str = "GET", ends: bool = True) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", method), *_FIELDS[1:], *more], end_stream=ends)
        self.exchange()
        return stream

    def of(self, kind: type[h2.events.Event]) -> list[h2.events.Event]:
        return [one for one in self.events if isinstance(one, kind)]

    def body(self) -> bytes:
        return b"".join(one.data or b"" for one in self.events if isinstance(one, h2.events.DataReceived))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_answer(bench: Bench) -> None:
    client = Client(bench)
    client.ask()
    bench.requests[0].answer(b"hello", lines=b"\r\nX-A: b", trailers=b"\r\nX-Sum: 1")
    client.exchange()
    (head,) = client.of(h2.events.ResponseReceived)
    assert isinstance(head, h2.events.ResponseReceived)
    assert [(str(a), str(b)) for a, b in head.headers or ()] == [
        (":status", "200"),
        ("x-a", "b"),
        ("content-length", "5"),
    ]
    assert client.body() == b"hello"
    assert len(client.of(h2.events.TrailersReceived)) == 1
    assert len(client.of(h2.events.StreamEnded)) == 1
    assert bench.engine.streams == {}


def test_a_body_waits_until_it_is_wanted() -> None:
    bench = Bench(holds=True)
    client = Client(bench)
    stream = client.ask(method="POST", ends=False)
    for _ in range(8):
        client.h2.send_data(stream, bytes(16_000))
        client.exchange()
    client.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)
    client.exchange()
    (request,) = bench.requests
    assert (request.body, request.trailers) == (b"", None)
    assert client.of(h2.events.WindowUpdated)[1:] == []  # the first made the connection's window what it is
    request.exchange.pause_body(False)
    client.exchange()
    assert (len(request.body), request.trailers) == (128_000, b"\r\nx-sum: 1")
    assert not client.of(h2.events.StreamReset)


def test_room_is_given_when_a_body_is_taken() -> None:
    bench = Bench(connection_window=131_072)
    client = Client(bench)
    stream = client.ask(method="POST", ends=False)
    for _ in range(100):
        client.h2.send_data(stream, bytes(10_000))
        client.exchange()
    assert len(bench.requests[0].body) == 1_000_000


def test_a_request_that_is_taken_back(bench: Bench) -> None:
    client = Client(bench)
    stream = client.ask()
    client.h2.reset_stream(stream)
    client.exchange()
    assert bench.requests[0].is_gone
    bench.requests[0].answer(b"too late")
    bench.requests[0].exchange.flush()
    bench.requests[0].exchange.interim(103, b"")
    bench.requests[0].exchange.abort()
    client.exchange()
    assert client.body() == b""


def test_a_slow_client_slows_who_answers(bench: Bench) -> None:
    client = Client(bench)
    stream = client.ask()
    (request,) = bench.requests
    request.exchange.start(200, b"", b"", -1)
    for _ in range(5):
        request.exchange.write(bytes(30_000))
        request.exchange.flush()
    client.exchange()
    assert request.paused == [True]
    client.h2.increment_flow_control_window(1 << 20)
    client.h2.increment_flow_control_window(1 << 20, stream)
    client.exchange()
    assert request.paused == [True, False]
    request.exchange.finish()
    client.exchange()
    assert len(client.body()) == 150_000
    assert len(client.of(h2.events.StreamEnded)) == 1


def test_what_is_due_is_told() -> None:
    bench = Bench()
    client = Client(bench)
    client.ask()
    client.ask(method="POST", ends=False)
    waits, stalls = bench.requests
    waits.exchange.expect(5.0)
    stalls.exchange.expect(5.0)
    stalls.exchange.expect(0)
    assert bench.engine.late_at <= 1005.0
    for _ in range(70):
        bench.now += 1
        if bench.engine.late_at <= bench.now:
            bench.engine.look(bench.now)
    assert (waits.is_late, stalls.is_late) == (True, False)
    assert (waits.refusal, stalls.refusal) == (0, 408)
    assert bench.hits == ["idle_timeout"]


def test_an_answer_before_the_end_of_the_request(bench: Bench) -> None:
    client = Client(bench)
    stream = client.ask(method="POST", ends=False)
    client.h2.send_data(stream, b"part")
    client.exchange()
    bench.requests[0].answer(status=413)
    client.exchange()
    assert client.of(h2.events.StreamEnded)
    for _ in range(40):  # nobody needs it, but some clients read no answer before they have sent all
        client.h2.send_data(stream, bytes(16_384))
        client.exchange()
    assert client.of(h2.events.StreamReset) == []
    bench.now += 2.0
    bench.engine.look(bench.now)
    client.exchange()
    (reset,) = client.of(h2.events.StreamReset)
    assert isinstance(reset, h2.events.StreamReset)
    assert reset.error_code == 0
    assert not bench.requests[0].is_gone
    assert bench.engine.streams == {}


@pytest.mark.parametrize("how", ["body", "trailers", "reset"])
def test_a_request_that_ends_after_its_answer_is_not_reset(bench: Bench, how: str) -> None:
    client = Client(bench)
    stream = client.ask(method="POST", ends=False)
    bench.requests[0].answer(status=413)
    client.exchange()
    bench.engine.leave_now()
    assert not bench.engine.is_over  # or the client may never see the answer
    if how == "body":
        client.h2.send_data(stream, b"part", end_stream=True)
    elif how == "trailers":
        client.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)
    else:
        client.h2.reset_stream(stream)
    client.exchange()
    assert bool(bench.engine.is_over)
    bench.engine.look(bench.now + 2.0)
    assert client.of(h2.events.StreamReset) == []


def test_what_an_answered_request_goes_on_with_is_thrown_away(bench: Bench) -> None:
    """Its upstream took no more of it, and the client takes nothing of the answer before it has sent all."""
    client = Client(bench)
    stream = client.ask(method="POST", ends=False)
    bench.requests[0].exchange.pause_body(True)
    for _ in range(8):
        client.h2.send_data(stream, bytes(16_384))
    client.exchange()
    assert client.h2.local_flow_control_window(stream) == 0
    bench.requests[0].answer(bytes(200_000))
    client.exchange()
    for _ in range(20):
        client.h2.send_data(stream, bytes(16_384))
        client.exchange()
    assert bench.requests[0].body == b""
    assert not client.of(h2.events.StreamEnded)


def test_few_requests_may_go_on_after_their_answers(bench: Bench) -> None:
    client = Client(bench)
    streams = [client.ask(method="POST", ends=False) for _ in range(20)]
    for one in bench.requests:
        one.answer(status=413)
    client.exchange()
    reset = [one.stream_id for one in client.of(h2.events.StreamReset) if isinstance(one, h2.events.StreamReset)]
    assert reset == streams[:4]


def test_an_answer_that_cannot_be_completed(bench: Bench) -> None:
    client = Client(bench)
    client.ask()
    bench.requests[0].exchange.start(200, b"", b"", 100)
    bench.requests[0].exchange.write(b"half")
    bench.requests[0].exchange.flush()
    bench.requests[0].exchange.abort()
    client.exchange()
    (reset,) = client.of(h2.events.StreamReset)
    assert isinstance(reset, h2.events.StreamReset)
    assert reset.error_code == 2


def test_everything_ends_with_the_connection(bench: Bench) -> None:
    client = Client(bench)
    client.ask()
    client.ask()
    bench.engine.lost()
    assert [one.is_gone for one in bench.requests] == [True, True]
    bench.requests[0].answer(b"nobody")
    assert bench.taken() == b""


def _whole(request: Request) -> None:
    request.answer(b"x" * 10)


def test_an_answer_may_come_at_once() -> None:
    bench = Bench(answers=_whole)
    client = Client(bench)
    for _ in range(300):
        client.ask()
    assert client.body() == b"x" * 3000
