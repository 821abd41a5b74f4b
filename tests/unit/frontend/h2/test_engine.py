"""The engine with a well-behaved client, the `h2` package, and with anything else."""

import gc
import random
from collections.abc import Callable

import h2.events
import h2.settings
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxyd.frontend.h2.exchange import H2Exchange
from proxyd.frontend.h2.frames import MAX_WINDOW
from tests.support.h2_client import PREFACE, frame, window_update
from tests.support.h2_client import settings as settings_frame
from tests.support.h2_engine import Bench, Request
from tests.unit.frontend.h2.test_exchange import Client

_HEAD = bytes.fromhex("828784") + b"\x41\x09a.example"  # GET https / a.example
_POST = bytes.fromhex("838784") + b"\x41\x09a.example"
_CONNECT = b"\x02\x07CONNECT\x87\x84\x41\x09a.example\x00\x09:protocol\x09websocket"


def _answer(request: Request) -> None:
    request.answer(b"ok")


def _error(bench: Bench) -> int:
    """Return the error code of the GOAWAY that is the last of all."""
    data = bench.taken()
    assert data[-17:-13] == b"\0\0\x08\x07", data
    return int.from_bytes(data[-4:])


def _is_over(bench: Bench) -> bool:
    return bench.engine.is_over


def _started() -> Bench:
    bench = Bench(answers=_answer)
    bench.engine.receive(PREFACE + settings_frame())
    bench.taken()
    return bench


def test_it_greets_with_its_settings() -> None:
    client = Client(Bench(max_streams=7))
    (changed,) = client.of(h2.events.RemoteSettingsChanged)
    assert isinstance(changed, h2.events.RemoteSettingsChanged)
    told = {key: one.new_value for key, one in changed.changed_settings.items()}
    assert told[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] == 7
    assert told[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1


def test_it_leaves_in_two_steps() -> None:
    """RFC 9113 §6.8."""
    bench = _started()
    engine = bench.engine
    engine.leave()
    engine.leave()
    data = bench.taken()
    assert data[:17] == frame(7, 0, 0, MAX_WINDOW.to_bytes(4) + bytes(4))
    ping = data[17:]
    engine.receive(frame(1, 5, 1, _HEAD))
    bench.requests.pop()
    assert not _is_over(bench)
    engine.receive(frame(6, 1, 0, ping[9:]))
    assert frame(7, 0, 0, (1).to_bytes(4) + bytes(4)) in bench.taken()
    assert _is_over(bench)
    engine.receive(frame(1, 5, 3, _HEAD) + frame(8, 0, 3, bytes(3) + b"\x01") + frame(3, 0, 3, bytes(4)))
    assert bench.requests == []
    assert bench.taken() == b""


def test_a_client_that_says_goodbye_is_served_to_the_end() -> None:
    bench = Bench()
    bench.engine.receive(PREFACE + settings_frame() + frame(1, 5, 1, _HEAD) + frame(7, 0, 0, bytes(8)))
    assert not _is_over(bench)
    bench.engine.receive(frame(1, 5, 3, _HEAD))
    for request in bench.requests:
        request.answer(b"ok")
    assert not _is_over(bench)
    assert bench.taken().endswith(b"ok" + frame(7, 0, 0, (3).to_bytes(4) + bytes(4)))  # RFC 9113 §6.8: before a close
    assert _is_over(bench)


def test_a_stream_that_was_taken_back_counts_in_its_turn() -> None:
    """Its upstream connection is not closed before that: what is asked for at once waits for the next turn."""
    bench = Bench(max_streams=2)
    rst = [_rst(one) for one in range(1, 9, 2)]
    heads = [frame(1, 5, one, _HEAD) for one in range(1, 11, 2)]
    bench.engine.receive(PREFACE + settings_frame() + heads[0] + heads[1] + rst[0] + rst[1])
    bench.engine.receive(
        heads[2] + heads[3] + rst[3] + frame(1, 4, 9, _HEAD) + frame(0, 1, 9, b"body") + frame(1, 5, 11, _HEAD)
    )
    assert len(bench.requests) == 2
    assert frame(3, 0, 11, (7).to_bytes(4)) in bench.taken()  # the third at a time
    assert [one.exchange.request.has_body for one in bench.requests[2:]] == [False, True]
    bench.requests[3].exchange.pause_body(False)
    assert (bench.requests[3].body, bench.requests[3].trailers) == (b"body", b"")
    assert bench.hits == ["http2_streams"]


def test_what_is_refused_costs_less_than_what_was_begun() -> None:
    """A client may not know how many we take yet (RFC 9113 §6.5.2), and nobody has worked for it."""
    bench = Bench(max_streams=2, resets=10)
    heads = [frame(1, 5, one, _HEAD) for one in range(1, 601, 2)]
    bench.engine.receive(PREFACE + settings_frame() + b"".join(heads))
    assert bench.taken().count(b"\0\0\x04\x03\0") == 298
    assert not bench.engine.is_over
    bench.engine.receive(b"".join(frame(1, 5, one, _HEAD) for one in range(601, 1001, 2)))
    assert _error(bench) == 11


def test_who_takes_everything_back_is_served_in_the_next_turn() -> None:
    """Although there is nothing to send meanwhile."""
    bench = Bench(max_streams=2)
    bench.engine.receive(PREFACE + settings_frame() + frame(1, 5, 1, _HEAD) + frame(1, 5, 3, _HEAD))
    bench.taken()
    bench.engine.receive(_rst(1) + _rst(3))
    assert bench.woken
    bench.taken()
    bench.engine.receive(frame(1, 5, 5, _HEAD) + frame(1, 5, 7, _HEAD))
    assert len(bench.requests) == 4


def _rst(stream: int) -> bytes:
    return frame(3, 0, stream, (8).to_bytes(4))


@pytest.mark.parametrize(
    "flood",
    [
        frame(4, 1),
        frame(1, 5, 1, _HEAD),
        frame(1, 5, 1, b"\x00\x01a\x01b"),
        frame(6, 1, 0, b"last one"),
        frame(1, 5, 5, _HEAD),
    ],
    ids=["acknowledgements", "heads of what is over", "its trailers", "last calls", "heads after the last one"],
)
def test_what_brings_nothing_is_charged_for(flood: bytes) -> None:
    bench = Bench()
    bench.engine.receive(PREFACE + settings_frame() + frame(1, 4, 1, _HEAD) + frame(1, 4, 3, _HEAD))
    bench.requests[0].answer(b"early")
    bench.engine.leave()
    bench.engine.leave_now()
    bench.taken()
    for _ in range(500):
        bench.engine.receive(flood)
    assert _error(bench) == 11


def test_each_request_may_have_its_window() -> None:
    """Firefox widens the window of every stream when it opens it, also where no body comes back."""
    bench = Bench(answers=lambda one: one.answer(status=204), glitches=10, glitches_per_second=1)
    bench.engine.receive(PREFACE + settings_frame())
    for stream in range(1, 2001, 2):
        bench.engine.receive(frame(1, 5, stream, _HEAD) + window_update(stream, 12 << 20))
    assert bench.hits == []
    bench.engine.receive(frame(1, 5, 1_000_001, _HEAD) + window_update(0, 1) * 500)  # there are none between
    assert bench.hits == ["http2_glitches"]


def test_small_bodies_that_end_by_a_frame_of_their_own_are_free() -> None:
    """Clients often write a body and then its end; a piece of a body for each byte is another thing."""
    bench = Bench(glitches=10, glitches_per_second=1)
    bench.engine.receive(PREFACE + settings_frame())
    for stream in range(1, 201, 2):
        bench.engine.receive(frame(1, 4, stream, _POST) + frame(0, 0, stream, b"x" * 20) + frame(0, 1, stream))
        bench.requests[-1].answer(status=204)
        bench.taken()
    assert [one.body for one in bench.requests] == [b"x" * 20] * 100
    assert bench.hits == []
    bench.engine.receive(frame(1, 4, 201, _POST) + frame(0, 0, 201, b"x") * 42)
    assert bench.hits == ["http2_glitches"]


def test_a_head_without_any_field_is_malformed() -> None:
    """RFC 9113 §8.3.1. On a new connection too, where no request is known that it could be like."""
    bench = _started()
    bench.engine.receive(frame(1, 5, 1, b"") + frame(1, 5, 3, b"\x20"))
    assert bench.requests == []
    assert bench.taken() == b"".join(frame(3, 0, stream, (1).to_bytes(4)) for stream in (1, 3))


def test_a_tunnel_has_no_trailers() -> None:
    """RFC 9113 §8.5."""
    bench = Bench()
    bench.engine.receive(PREFACE + settings_frame() + frame(1, 4, 1, _CONNECT))
    bench.engine.receive(frame(1, 5, 1, b"\x00\x01a\x01b"))
    assert bench.taken().endswith(frame(3, 0, 1, (1).to_bytes(4)))


def test_late_frames_on_a_stream_that_was_reset_are_no_fault() -> None:
    bench = _started()
    bench.engine.receive(frame(1, 4, 1, _HEAD))  # is answered before its end
    bench.engine.receive(frame(0, 0, 1, b"late") + frame(8, 0, 1, b"\0\0\0\x01") + frame(1, 5, 1, _HEAD))
    assert not bench.engine.is_over


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (lambda: frame(1, 5, 1, _HEAD) + frame(1, 5, 1, _HEAD), 5),
        (lambda: frame(1, 5, 3, _HEAD) + frame(1, 5, 1, _HEAD), 5),
        (lambda: frame(1, 5, 1, _HEAD) + frame(0, 1, 1, b"x"), 5),
        (lambda: frame(0, 1, 1, b"x"), 1),
        (lambda: frame(3, 0, 1, bytes(4)), 1),
        (lambda: frame(8, 0, 1, b"\0\0\0\x01"), 1),
        (lambda: frame(8, 0, 0, bytes(4)), 1),
        (lambda: frame(8, 0, 0, b"\x7f\xff\xff\xff"), 3),
        (lambda: settings_frame(window=0x80000000), 3),
        (lambda: settings_frame(push=2), 1),
        (lambda: settings_frame(frame=16_383), 1),
        (lambda: settings_frame(frame=1 << 24), 1),
        (lambda: frame(1, 5, 1, b"\xff"), 9),
        (lambda: frame(6, 0, 0, bytes(8)) * 500, 11),
    ],
)
def test_faults_of_the_connection(frames: Callable[[], bytes], code: int) -> None:
    bench = _started()
    bench.engine.receive(frames())
    assert _error(bench) == code
    assert bench.engine.is_over
    bench.engine.receive(frame(1, 5, 9, _HEAD))
    assert bench.taken() == b""


def test_windows_that_bring_data_are_free() -> None:
    bench = Bench(answers=lambda one: one.answer(bytes(1 << 20)), glitches=10, glitches_per_second=1)
    client = Client(bench)
    client.ask()
    while not client.of(h2.events.StreamEnded):
        for event in client.events:
            if isinstance(event, h2.events.DataReceived):
                client.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        client.events = [one for one in client.events if not isinstance(one, h2.events.DataReceived)]
        client.exchange()
    assert bench.hits == []


@given(st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_order_of_bodies_arrives_whole(seed: int) -> None:
    """Requests, bodies, windows and answers in any order, as a client that keeps to the rules sends them."""
    rng = random.Random(seed)
    bench = Bench(holds=rng.random() < 0.5, stream_window=65_535)
    client = Client(bench)
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: rng.choice([1000, 65_535, 1 << 20])})
    sent: dict[int, bytes] = {}
    answers: dict[int, bytes] = {}
    got: dict[int, bytes] = {}
    for _ in range(rng.randrange(3, 40)):
        match rng.randrange(5):
            case 0 if len(sent) < 20:
                stream = client.ask(method="POST", ends=False)
                sent[stream], got[stream] = b"", b""
            case 1 if open_streams := [one for one in sent if one not in answers]:
                stream = rng.choice(open_streams)
                room = min(client.h2.local_flow_control_window(stream), 16_384, rng.randrange(1, 20_000))
                if room > 0:
                    piece = rng.randbytes(room)
                    client.h2.send_data(stream, piece)
                    sent[stream] += piece
            case 2 if bench.requests:
                place = rng.randrange(len(bench.requests))
                bench.requests[place].exchange.pause_body(rng.random() < 0.3)
            case 3 if sent:
                stream = rng.choice([*sent])
                if stream not in answers:
                    client.h2.end_stream(stream)
                    client.exchange()
                    answers[stream] = rng.randbytes(rng.choice([0, 10, 5000, 100_000]))
                    place = [*sent].index(stream)
                    bench.requests[place].exchange.pause_body(False)
                    bench.requests[place].answer(answers[stream])
            case _:
                client.exchange()
        _acknowledge(client, got)
    for place, stream in enumerate(sent):
        bench.requests[place].exchange.pause_body(False)
        client.exchange()
        assert bench.requests[place].body == sent[stream]
        if stream in answers:
            while len(got[stream]) < len(answers[stream]):
                _acknowledge(client, got)
            assert got[stream] == answers[stream]
    assert bench.hits == []
    assert not bench.engine.is_over


def _acknowledge(client: Client, got: dict[int, bytes]) -> None:
    events, client.events = client.events, []
    for event in events:
        assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated), event
        if isinstance(event, h2.events.DataReceived):
            got[event.stream_id] += event.data or b""
            if event.flow_controlled_length:
                client.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    client.exchange()


_PAYLOADS = [_HEAD, _HEAD + b"\x40\x01a\x01b\xbe", b"\x0f\x0d\x015" + _HEAD]
_PAYLOADS += [b"", bytes(4), bytes(8), b"\0\0\0\x05"]
_frames = st.builds(
    frame,
    st.integers(0, 10),
    st.sampled_from([0, 1, 4, 5, 8, 9, 13, 0x25, 0xFF]),
    st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2, 0x7FFFFFFF, 0x80000001]),
    st.sampled_from(_PAYLOADS) | st.binary(max_size=40),
)


@given(st.lists(_frames | st.binary(max_size=20), max_size=30), st.booleans(), st.integers(0, 2))
@example([frame(1, 4, 1, _HEAD), frame(0, 0, 1, b"x"), frame(3, 0, 1, bytes(4))], True, 0)
@settings(max_examples=400, deadline=None)
def test_nothing_breaks_it(pieces: list[bytes], holds: bool, how: int) -> None:
    """Whatever comes, it goes on or ends with GOAWAY; who serves a request hears of its end once."""
    answers: list[Callable[[Request], None]] = [lambda _: None, _answer, lambda one: one.exchange.abort()]
    bench = Bench(answers=answers[how], holds=holds)
    bench.engine.receive(PREFACE + settings_frame())
    for piece in pieces:
        bench.engine.receive(piece)
        bench.now += 0.5
        if bench.engine.late_at <= bench.now:
            bench.engine.look(bench.now)
    for request in bench.requests:
        request.exchange.pause_body(False)
    data = bench.taken()
    if bench.engine.is_over and data[-17:-13] != b"\0\0\x08\x07":
        assert any(piece[3:4] == b"\x07" for piece in pieces)  # the client's own goodbye
    bench.engine.lost()
    assert bench.engine.streams == {}
    if not how:
        assert all(one.is_gone or one.refusal for one in bench.requests)
    assert bench.taken() == b""


def test_who_is_gone_leaves_nothing_to_the_garbage_collector() -> None:
    """It looks seldom, and at nothing that was there at a reload."""
    bench = Bench(max_streams=1)
    engine = bench.engine
    engine.receive(PREFACE + settings_frame() + frame(1, 4, 1, _HEAD) + _rst(1) + frame(1, 4, 3, _HEAD))
    gc.disable()
    try:
        before = _exchanges()
        engine.lost()
        bench.requests.clear()
        assert _exchanges() == before - 2
    finally:
        gc.enable()


def _exchanges() -> int:
    return sum(isinstance(one, H2Exchange) for one in gc.get_objects())
