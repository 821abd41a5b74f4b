"""A request while its guards ask: who answers, in which order, and what becomes of those who leave."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from proxyd.core.body_length import CHUNKED
from proxyd.core.hostname import Hostname
from proxyd.core.request_head import RequestHead
from proxyd.frontend.head_reader import UNREADABLE
from proxyd.proxy.answer import Answer
from proxyd.proxy.exchange import Downstream, RequestSink
from proxyd.proxy.gate import Gate, Question, Verdict, Visit

NO, LATE = Answer(403), Answer(504)


class Held:
    """An exchange that notes what is wished of it."""

    def __init__(self, request: RequestHead) -> None:
        self.request = request
        self.downstream = Downstream(client="192.0.2.1", names=frozenset())
        self.sink: RequestSink | None = None
        self.noted: list[object] = []

    def deliver(self, sink: RequestSink) -> None:
        self.sink = sink

    def pause_body(self, paused: bool) -> None:
        self.noted.append(("paused", paused))

    def expect(self, seconds: float) -> None:
        self.noted.append(("expects", seconds))

    def interim(self, status: int, lines: bytes) -> None:
        raise AssertionError

    def start(self, status: int, reason: bytes, lines: bytes, body: int) -> None:
        raise AssertionError

    def switch(self, lines: bytes) -> None:
        raise AssertionError

    def write(self, data: bytes) -> None:
        raise AssertionError

    def finish(self, trailers: bytes = b"") -> None:
        raise AssertionError

    def abort(self) -> None:
        raise AssertionError

    def flush(self) -> None:
        raise AssertionError


class Asking:
    """A guard that answers when the test says so, or at once with `verdict`; it adds its name to what it lets in."""

    def __init__(self, name: bytes, verdict: Verdict | None = None, *, is_quick: bool = False) -> None:
        self.name, self.verdict, self.is_quick = name, verdict, is_quick
        self.seconds = 7.0
        self.asked = self.cancelled = 0
        self.told: Callable[[Verdict], None] = lambda _: None
        self.visit: Visit | None = None

    def ask(self, visit: Visit, told: Callable[[Verdict], None]) -> Verdict | Question:
        self.asked += 1
        self.visit, self.told = visit, told
        return self.found() if self.is_quick else self

    def found(self) -> Verdict:
        assert self.visit is not None
        request = replace(self.visit.request, kept=self.visit.request.kept + self.name)
        return self.verdict or self.visit._replace(request=request)

    def late(self, visit: Visit) -> Answer:
        return LATE

    def cancel(self) -> None:
        self.cancelled += 1


def made(*guards: Asking, body: int = 0) -> tuple[Gate, Held, list[Verdict | None]]:
    request = replace(UNREADABLE, block=replace(UNREADABLE.block, body=body))
    held, ended = Held(request), list[Verdict | None]()
    visit = Visit(request, Hostname("a.test"), "192.0.2.1", b"", "id")
    return Gate(held, visit, guards, ended.append), held, ended


def test_who_knows_at_once_holds_nothing_up() -> None:
    gate, held, ended = made(Asking(b"1", is_quick=True), Asking(b"2", is_quick=True), body=CHUNKED)
    gate.start()
    (found,) = ended
    assert isinstance(found, Visit)
    assert found.request.kept.endswith(b"12")
    assert (held.sink, held.noted) == (None, [])
    second = Asking(b"2")
    gate, _, ended = made(Asking(b"1", NO, is_quick=True), second)
    gate.start()
    assert (ended, second.asked) == ([NO], 0)


@pytest.mark.parametrize("body", [0, 5, CHUNKED])
def test_each_is_asked_after_the_one_before_and_sees_what_that_one_said(body: int) -> None:
    first, second = Asking(b"1"), Asking(b"2")
    gate, held, ended = made(first, second, body=body)
    gate.start()
    assert held.sink is gate
    assert (("paused", True) in held.noted) is bool(body)
    assert ("expects", 7.0) in held.noted
    assert not second.asked
    first.told(first.found())
    assert (second.asked, ended) == (1, [])
    second.told(second.found())
    (found,) = ended
    assert isinstance(found, Visit)
    assert found.request.kept.endswith(b"12")
    assert held.noted[-1] == ("expects", 0)
    assert ("paused", False) not in held.noted, "who takes it on has it go on"


def test_a_no_ends_it() -> None:
    first, second = Asking(b"1"), Asking(b"2")
    gate, _, ended = made(first, second)
    gate.start()
    first.told(NO)
    assert (ended, second.asked) == ([NO], 0)


@pytest.mark.parametrize(
    ("happens", "outcome"),
    [
        (lambda gate: gate.abandoned(), None),
        (lambda gate: gate.late(), LATE),
        (lambda gate: gate.refused(408, "too slow"), Answer(408)),
    ],
    ids=["left", "late", "refused"],
)
def test_what_happens_meanwhile_ends_the_question_once(happens: Callable[[Gate], None], outcome: Answer | None) -> None:
    guard = Asking(b"1")
    gate, _, ended = made(guard)
    gate.start()
    gate.download_paused(True)
    assert not gate.leave()
    happens(gate)
    assert (ended, guard.cancelled) == ([outcome], 1)
    guard.told(NO)
    gate.abandoned()
    gate.late()
    assert (ended, guard.cancelled) == ([outcome], 1)
