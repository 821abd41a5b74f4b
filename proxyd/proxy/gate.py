"""Guards that have to ask somebody before a request may go on; meanwhile its body waits."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.request_head import RequestHead
from proxyd.proxy.answer import Answer
from proxyd.proxy.exchange import Exchange


class Visit(NamedTuple):
    """A request on its way in. `forwarded`: the lines that tell who asks, as the upstream would get them.

    What a guard found out: `user`, who asks, for the log; `lines`: what goes to the client with the answer.
    """

    request: RequestHead
    host: Hostname | HostPattern
    client: str
    forwarded: bytes
    request_id: str
    user: str = ""
    lines: bytes = b""

    def __repr__(self) -> str:
        return f"Visit({self.host}, {self.request_id})"  # the lines may be cookies


#: What the client is answered, or the request as it goes on.
Verdict = Answer | Visit


class Question(Protocol):
    """Something that is being asked."""

    def cancel(self) -> None:
        """Ask no more: nobody is told."""
        ...


class Guard(Protocol):
    """Lets a request in or not. `seconds`: how long that may take."""

    @property
    def seconds(self) -> float: ...
    def late(self, visit: Visit) -> Answer:
        """Return what a client gets that was not let in in time."""
        ...

    def ask(self, visit: Visit, told: Callable[[Verdict], None]) -> Verdict | Question:
        """Return the verdict, or what it takes: then `told` is called with it later, once, unless it is cancelled."""
        ...


class Gate:
    """Implements RequestSink for a request while its guards ask, one after the other.

    `ended` is called once, with None when the client has left; perhaps before `start` returns.
    """

    __slots__ = ("_ended", "_exchange", "_guard", "_guards", "_question", "_visit")

    def __init__(
        self, exchange: Exchange, visit: Visit, guards: Sequence[Guard], ended: Callable[[Verdict | None], None]
    ) -> None:
        self._exchange = exchange
        self._visit = visit
        self._guards = [*reversed(guards)]
        self._guard: Guard | None = None
        self._question: Question | None = None
        self._ended = ended

    def start(self) -> None:
        """Begin to ask."""
        verdict = self._ask()
        if verdict is not None:
            self._ended(verdict)
            return
        if self._visit.request.block.body:
            self._exchange.pause_body(True)
        self._exchange.deliver(self)

    # RequestSink: nothing of a body comes, nor is there a tunnel

    def body(self, data: bytes) -> None:
        raise AssertionError("the body waits")

    def body_end(self, trailers: bytes) -> None:
        """Without a body there is nothing to take."""

    def abandoned(self) -> None:
        if self._cancel():
            self._ended(None)

    def leave(self) -> bool:
        return False

    def refused(self, status: int, why: str) -> None:
        if self._cancel():
            self._ended(Answer(status))

    def download_paused(self, paused: bool) -> None:
        """Nothing is sent yet; who comes after us is told anew."""

    def late(self) -> None:
        guard = self._guard
        if self._cancel() and guard is not None:
            self._ended(guard.late(self._visit))

    # Inside

    def _ask(self) -> Verdict | None:
        while self._guards:
            self._guard = guard = self._guards.pop()
            found = guard.ask(self._visit, self._told)
            if isinstance(found, Answer):
                return found
            if not isinstance(found, Visit):
                self._question = found
                self._exchange.expect(guard.seconds)
                return None
            self._visit = found
        return self._visit

    def _told(self, verdict: Verdict) -> None:
        if self._question is None:
            return
        self._question = None
        self._exchange.expect(0)
        if isinstance(verdict, Visit):
            self._visit = verdict
            found = self._ask()
            if found is None:
                return
            verdict = found
        self._ended(verdict)

    def _cancel(self) -> bool:
        question, self._question = self._question, None
        if question is not None:
            question.cancel()
        return question is not None
