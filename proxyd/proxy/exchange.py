"""One request and its response with a downstream, whatever its HTTP version."""

from dataclasses import dataclass
from typing import Protocol

from proxyd.core.header_rules import Field
from proxyd.core.hostname import Hostname


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """What the client asked. `target` and fields as on the wire; `length`: bytes of body, None when not known."""

    method: str
    target: bytes
    fields: tuple[Field, ...]
    has_body: bool
    length: int | None
    version: str = "1.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Downstream:
    """The connection a request came on: client address, and the names that its certificate covers."""

    client: str
    names: frozenset[Hostname]


class RequestSink(Protocol):
    """Who takes the request's body. Calls come from the event loop, in order."""

    def body(self, data: bytes) -> None: ...
    def body_end(self) -> None: ...
    def abandoned(self) -> None:
        """The client is gone."""
        ...

    def download_paused(self, paused: bool) -> None:
        """Stop (or continue) giving response bytes: the client does not take them."""
        ...


class Exchange(Protocol):
    """The downstream's side of one request. Methods do not block; bytes go out at the next `flush`."""

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

    def start(self, status: int, reason: bytes, fields: list[Field], length: int | None) -> None:
        """Begin the response; `length` None: the exchange frames the body."""
        ...

    def write(self, data: bytes) -> None: ...
    def finish(self) -> None:
        """The response is complete."""
        ...

    def abort(self) -> None:
        """The response cannot be completed: cut the connection, so that nobody takes it for complete."""
        ...

    def flush(self) -> None: ...
