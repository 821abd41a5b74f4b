"""One request and its response with a downstream, whatever its HTTP version."""

from typing import Protocol

from proxyd.core.hostname import Hostname
from proxyd.core.request_head import RequestHead
from proxyd.core.tls_policy import TlsPolicy


class Downstream:
    """The connection a request came on: the address of its other end, and the names that its certificate covers.

    `client` is who asks: the peer, or whom a trusted proxy names for the request under way; `is_secure`: it used TLS.
    `host`: for which the handshake was. `policy`: what that had to keep to; None: it came without TLS. `client_chain`:
    the certificates (DER) of a client that proved who it is, its own first.
    """

    __slots__ = ("client", "client_chain", "host", "is_secure", "known", "names", "peer", "policy", "proto")

    def __init__(
        self,
        *,
        client: str,
        names: frozenset[Hostname],
        proto: bytes = b"https",
        host: Hostname | None = None,
        policy: TlsPolicy | None = None,
    ) -> None:
        self.client = self.peer = client
        self.names = names
        self.proto = proto
        self.is_secure = proto == b"https"
        self.host = host
        self.policy = policy
        self.client_chain: tuple[bytes, ...] = ()
        #: What was found out for the last request: most ask for the same host. Whoever keeps it knows when it is over.
        self.known: object = None

    def again(self) -> "Downstream":
        """Return the same for a request that is under way at the same time as others."""
        other = Downstream(client=self.peer, names=self.names, proto=self.proto, host=self.host, policy=self.policy)
        other.client_chain = self.client_chain
        return other

    def covers(self, host: Hostname) -> bool:
        """Return whether the connection's certificate is for `host` (RFC 9110 §7.4: else 421)."""
        return host in self.names or Hostname(f"*.{host.text.partition('.')[2]}") in self.names


class RequestSink(Protocol):
    """Who takes the request's body, and after `switch` all bytes. Calls come from the event loop, in order."""

    def body(self, data: bytes) -> None: ...
    def body_end(self, trailers: bytes) -> None:
        """The body is complete; `trailers` as a block of lines, each after a CRLF."""
        ...

    def abandoned(self) -> None:
        """The client is gone."""
        ...

    def leave(self) -> bool:
        """We go away: end a tunnel with last words. False, and nothing done: there are none, or no place for them."""
        ...

    def refused(self, status: int, why: str) -> None:
        """The rest of the body cannot be taken, and no answer has begun: answer with `status`; `why` is for the log."""
        ...

    def download_paused(self, paused: bool) -> None:
        """Stop (or continue) giving response bytes: the client does not take them."""
        ...

    def late(self) -> None:
        """The time that `expect` gave is over."""
        ...


class ExchangeHandler(Protocol):
    """Who serves exchanges. Both return at once."""

    def handle(self, exchange: "Exchange") -> None: ...
    def refuse(self, exchange: "Exchange", status: int, why: str) -> None:
        """Answer what could not be read; `why` is for people."""
        ...


class Exchange(Protocol):
    """The downstream's side of one request. Methods do not block; bytes go out at the next `flush`.

    Header lines are blocks: each line after a CRLF, without hop-by-hop fields and framing.
    """

    @property
    def request(self) -> RequestHead: ...
    @property
    def downstream(self) -> Downstream: ...
    def deliver(self, sink: RequestSink) -> None:
        """Give the request's body, and what happens to the client, to `sink` from now on."""
        ...

    def pause_body(self, paused: bool) -> None:
        """Stop (or continue) giving the request's body."""
        ...

    def expect(self, seconds: float) -> None:
        """Call the sink's `late` in so many seconds, about, unless this is called again before; 0: never."""
        ...

    def interim(self, status: int, lines: bytes) -> None:
        """Send an informational response (RFC 9110 §15.2); not to who cannot know it."""
        ...

    def start(self, status: int, reason: bytes, lines: bytes, body: int) -> None:
        """Begin the response. `body`: its length, CHUNKED, or UNTIL_CLOSE: the exchange frames it."""
        ...

    def switch(self, lines: bytes) -> None:
        """Send 101 (Switching Protocols): from now on all bytes pass as they are, both ways."""
        ...

    def write(self, data: bytes) -> None: ...
    def finish(self, trailers: bytes = b"") -> None:
        """The response is complete, or the tunnel."""
        ...

    def abort(self) -> None:
        """The response cannot be completed: cut the connection, so that nobody takes it for complete."""
        ...

    def flush(self) -> None: ...
