"""Another server says whether a request may pass (`forward_auth`): asked about each one, before an upstream is."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import monotonic
from typing import Final

from proxyd.core.header_change import HeaderChange
from proxyd.core.request_head import RequestHead
from proxyd.core.response_scanner import ResponseHead
from proxyd.core.route_table import RouteTable
from proxyd.proxy.answer import Answer
from proxyd.proxy.error_response import answer_to, retry_after
from proxyd.proxy.gate import Question, Verdict, Visit
from proxyd.upstream.connection import UpstreamConnection, UpstreamError
from proxyd.upstream.group import UpstreamGroup
from proxyd.upstream.pool import Dial, UpstreamPool

_log = logging.getLogger("proxyd.proxy")
_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 3.0
#: A page for logging in is smaller.
_LONGEST: Final = 1 << 20
#: What the server believes of us.
_BELIEVED: Final = ("X-Forwarded-Method", "X-Forwarded-Uri", "X-Original-Method", "X-Original-Url", "X-Original-Uri")
#: And what would have it answer something else than yes or no.
_NOT_THEIRS: Final = (
    *_BELIEVED,
    *("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"),
)
#: How the names end under which such servers say who asks; other fields may be tokens, which are for no log.
_USERS: Final = (b"user", b"username")
_LONGEST_USER: Final = 255
_OURS = HeaderChange({}, ["Date"])  # of an answer: we write it


class ForwardAuth:
    """Implements Guard. The server answers 2xx: the request goes on; anything below 500: the client gets that answer.

    `copied`: fields of its answer that the upstream gets, in place of whatever the client sent under these names.
    `reserved`: fields that only we write: the server does not see what the client wrote under these names.
    `unasked`: which paths lead to that server itself, whose pages for logging in must be there for everybody.
    """

    seconds = _SECONDS

    def __init__(
        self,
        servers: UpstreamGroup,
        *,
        target: str,
        host: bytes,
        copied: Iterable[str],
        reserved: Iterable[str] = (),
        unasked: RouteTable[bool] | None = None,
    ) -> None:
        names = [*copied]
        self.servers = servers
        lower = [name.lower().encode() for name in names]
        self.copied = frozenset(lower)
        self._users = [name for name in lower if name.endswith(_USERS)]
        self._start = b"GET %b HTTP/1.1\r\nHost: %b" % (target.encode(), host)
        self._change = HeaderChange({}, names, aliases=True) if names else None
        self._withheld = HeaderChange({}, [*_NOT_THEIRS, *reserved], aliases=True)
        self._unasked = unasked
        self._believed = HeaderChange({}, [*_BELIEVED, *names], aliases=True)

    def ask(self, visit: Visit, told: Callable[[Verdict], None]) -> Verdict | Question:
        if self._unasked is not None and (found := self._unasked.find(visit.request.path)) and found[0]:
            request = visit.request
            return visit._replace(request=replace(request, kept=self._believed.applied(request.kept)))
        pool = self.servers.pick(visit.client)
        if pool is None:
            reason, seconds = self.servers.unavailable()
            self.complain(visit, reason)
            return Answer(503, lines=retry_after(seconds))
        inquiry = _Inquiry(self, pool, visit, told)
        inquiry.start()
        return inquiry

    def late(self, visit: Visit) -> Answer:
        self.complain(visit, f"it gave no answer within {_SECONDS:g} s")
        return Answer(504)

    def head(self, visit: Visit) -> bytes:
        """Return what the server is asked: all that the client says of itself, and what it asks for."""
        request = visit.request
        return b"%b%b%b\r\nX-Forwarded-Method: %b\r\nX-Forwarded-Uri: %b\r\nX-Request-ID: %b\r\n\r\n" % (
            self._start,
            self._withheld.applied(request.kept),
            visit.forwarded,
            request.method,
            request.path,
            visit.request_id.encode(),
        )

    def admitted(self, visit: Visit, head: ResponseHead) -> Visit:
        """Return the request as it goes on, with what the server says of it."""
        copied = cookies = b""
        values: dict[bytes, bytes] = {}
        for line in head.kept.split(b"\r\n"):
            name, _, value = line.partition(b":")
            name = name.lower()
            if name in self.copied:
                copied += b"\r\n" + line
                values[name] = value.strip()
            elif name == b"set-cookie":
                cookies += b"\r\n" + line
        known = next((values[name] for name in self._users if values.get(name)), b"")
        user = known[:_LONGEST_USER].decode("utf-8", "replace") or visit.user
        return visit._replace(request=self._with(visit.request, copied), user=user, lines=visit.lines + cookies)

    def _with(self, request: RequestHead, lines: bytes) -> RequestHead:
        """Return it with what is said of it in place of what the client said."""
        return request if self._change is None else replace(request, kept=self._change.applied(request.kept) + lines)

    def complain(self, visit: Visit, reason: str) -> None:
        """Say that nobody knows whether a request may pass."""
        upstream = ", ".join(pool.name for pool in self.servers.pools)
        extra = {"host": visit.host, "upstream": upstream, "reason": reason, "request_id": visit.request_id}
        _log.warning("forward_auth cannot be asked: the request is refused", extra=extra)


class _Inquiry:
    """Implements Question and ResponseSink: one request about a request."""

    __slots__ = (
        "_began",
        "_body",
        "_connection",
        "_dial",
        "_guard",
        "_head",
        "_is_over",
        "_pool",
        "_retried",
        "_size",
        "_told",
        "_visit",
    )

    def __init__(self, guard: ForwardAuth, pool: UpstreamPool, visit: Visit, told: Callable[[Verdict], None]) -> None:
        self._guard, self._pool, self._visit, self._told = guard, pool, visit, told
        self._began = monotonic()
        self._head: ResponseHead | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._is_over = self._retried = False
        self._connection: UpstreamConnection | None = None
        self._dial: Dial | None = None

    def start(self) -> None:
        """Ask."""
        pool = self._pool
        pool.active += 1
        if connection := pool.take_idle():
            self._begin(connection)
        else:
            self._dial = pool.connect(_CONNECT_SECONDS, self._connected)

    def cancel(self) -> None:
        self._drop()
        self._end()

    # ResponseSink

    def interim(self, head: ResponseHead) -> None:
        """Nobody waits for it."""

    def response(self, head: ResponseHead, body: int) -> None:
        self._head = head
        answers = self._pool.answers
        answers[0] += 1
        answers[1] += monotonic() - self._began
        self._guard.servers.worked(self._pool)

    def switched(self, head: ResponseHead) -> None:
        self._fail("it switched protocols")

    def data(self, data: bytes) -> None:
        if self._is_over:
            return
        self._size += len(data)
        if self._size > _LONGEST:
            self._fail(f"its answer is longer than {_LONGEST} bytes")
        else:
            self._body.append(data)

    def end(self, trailers: bytes) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection)
        if not self._is_over:
            self._end()
            self._told(self._verdict())

    def failed(self, error: UpstreamError) -> None:
        self._connection = None
        if self._is_over:
            return
        if error.replayable and not self._retried:
            self._retried = True
            self._dial = self._pool.connect(_CONNECT_SECONDS, self._connected, anew=True)
            return
        self._guard.servers.failed(self._pool, error)
        self._guard.complain(self._visit, str(error))
        self._end()
        status, lines = answer_to(error, self._guard.servers)
        self._told(Answer(status, lines=lines))

    def flush(self) -> None:
        """All is told at the end."""

    def upload_paused(self, paused: bool) -> None:
        """There is no body to send."""

    # Inside

    def _connected(self, result: UpstreamConnection | UpstreamError) -> None:
        self._dial = None
        if isinstance(result, UpstreamError):
            self.failed(result)
        else:
            self._begin(result)

    def _begin(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.begin(self, self._guard.head(self._visit), is_head=False, has_body=False)

    def _verdict(self) -> Verdict:
        head = self._head
        assert head is not None
        if 200 <= head.status < 300:
            return self._guard.admitted(self._visit, head)
        if head.status >= 500 or head.status == 304:
            self._guard.complain(self._visit, f"it answered {head.status}")
            return Answer(502)
        return Answer(head.status, b"".join(self._body), None, _OURS.applied(head.kept))

    def _fail(self, reason: str) -> None:
        self._drop()
        self._guard.complain(self._visit, reason)
        self._end()
        self._told(Answer(502))

    def _drop(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._pool.active -= 1
