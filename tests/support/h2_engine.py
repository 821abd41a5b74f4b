"""The HTTP/2 engine in memory, before a handler that only notes what it is asked; time is what the test says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from proxyd.config.http2_limits import Http2Limits
from proxyd.core.counters import Limit
from proxyd.core.hostname import Hostname
from proxyd.frontend.h2.engine import Engine
from proxyd.frontend.h2.hpack_encoder import HpackEncoder
from proxyd.frontend.head_reader import HeadLimits
from proxyd.proxy.exchange import Downstream, Exchange
from proxyd.proxy.times import Times

HOST = "a.example"


@dataclass
class Request:
    """Implements RequestSink: what came of a request."""

    exchange: Exchange
    body: bytes = b""
    trailers: bytes | None = None
    is_gone: bool = False
    is_late: bool = False
    paused: list[bool] = field(default_factory=list)
    refusal: int = 0

    def answer(self, body: bytes = b"", *, status: int = 200, lines: bytes = b"", trailers: bytes = b"") -> None:
        self.exchange.start(status, b"", lines, len(body))
        if body:
            self.exchange.write(body)
        self.exchange.finish(trailers)


class _Sink:
    def __init__(self, request: Request) -> None:
        self._request = request

    def body(self, data: bytes) -> None:
        self._request.body += data

    def body_end(self, trailers: bytes) -> None:
        assert self._request.trailers is None
        self._request.trailers = trailers

    def abandoned(self) -> None:
        assert not self._request.is_gone
        self._request.is_gone = True

    def leave(self) -> bool:
        return False

    def refused(self, status: int, why: str) -> None:
        self._request.refusal = status
        self._request.answer(status=status)

    def download_paused(self, paused: bool) -> None:
        self._request.paused.append(paused)

    def late(self) -> None:
        self._request.is_late = True


class Bench:
    """An engine, the requests that it made, and the limits that its client met."""

    def __init__(
        self, *, answers: Callable[[Request], None] = lambda _: None, holds: bool = False, **limits: Any
    ) -> None:
        self.requests: list[Request] = []
        self.refusals: list[tuple[int, str]] = []
        self.hits: list[Limit] = []
        self.now = 1000.0
        self.woken = 0
        self._answers = answers
        self._holds = holds
        self.engine = Engine(
            Downstream(client="192.0.2.1", names=frozenset({Hostname(HOST)})),
            handler=self,
            encoder=HpackEncoder(),
            limits=Http2Limits(**limits),
            heads=HeadLimits(),
            times=Times(),
            wake=self._wake,
            hit=self._hit,
            now=lambda: self.now,
        )

    def handle(self, exchange: Exchange) -> None:
        request = Request(exchange)
        self.requests.append(request)
        if self._holds:
            exchange.pause_body(True)
        exchange.deliver(_Sink(request))
        self._answers(request)

    def refuse(self, exchange: Exchange, status: int, why: str) -> None:
        self.refusals.append((status, why))
        exchange.start(status, b"", b"", 0)
        exchange.finish()

    def taken(self) -> bytes:
        """Return all that goes out, over as many turns as it takes."""
        parts = [self.engine.take()]
        while self.woken:
            self.woken = 0
            parts.append(self.engine.take())
        return b"".join(parts)

    def _wake(self) -> None:
        self.woken += 1

    def _hit(self, limit: Limit | None) -> None:
        if limit is not None:
            self.hits.append(limit)
