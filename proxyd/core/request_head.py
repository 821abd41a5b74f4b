"""A request as the proxy sees it, whatever its HTTP version."""

from typing import NamedTuple

from proxyd.core.body_length import NO_BODY
from proxyd.core.request_scanner import RequestBlock


class RequestHead(NamedTuple):
    """What a client asked. `target` as it was written, `path` and `authority` as the upstream is asked.

    `version` is 10, 11 or 20. A tuple: one is made for each request.
    """

    method: bytes
    target: bytes
    path: bytes
    authority: bytes
    version: int
    block: RequestBlock

    @property
    def has_body(self) -> bool:
        return self.block.body != NO_BODY
