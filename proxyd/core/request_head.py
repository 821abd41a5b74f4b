"""A request as the proxy sees it, whatever its HTTP version."""

from dataclasses import dataclass, field

from proxyd.core.body_length import NO_BODY
from proxyd.core.request_scanner import RequestBlock


@dataclass(slots=True)
class RequestHead:
    """What a client asked. `target` as it was written, `path` and `authority` as the upstream is asked.

    `kept` are the header lines for the upstream (see `scan_block`); `block` may be that of a request like it.
    `version` is 10, 11 or 20. Nobody changes one: it is not frozen because that would cost 0.5 µs a request.
    """

    method: bytes
    target: bytes
    path: bytes
    authority: bytes
    version: int
    block: RequestBlock
    kept: bytes = field(repr=False)

    @property
    def has_body(self) -> bool:
        return self.block.body != NO_BODY
