"""What becomes of a request or a response on its way through a proxy, whoever that is."""

import contextlib
from typing import NamedTuple

from tests.support import wire_message
from tests.support.raw_client import RawClient, Truncated
from tests.support.raw_upstream import RawUpstream, answer
from tests.support.replies import Reply
from tests.support.wire import request
from tests.support.wire_message import Ambiguous, Incomplete, Message

_SECONDS = 3.0


def passed(upstream: RawUpstream, client: RawClient, sent: bytes) -> tuple[int, list[Message | None]]:
    """Return the status of the answer, 0 for none, and the whole requests that reach the upstream until it comes.

    None is a request that nobody can read.
    """
    status = 0
    client.send(sent)
    with contextlib.suppress(Truncated, Ambiguous, TimeoutError):
        status = client.final(sent.strip().split(b" ")[0], seconds=_SECONDS).status
    found: list[Message | None] = []
    for received in upstream.received():
        try:
            found += wire_message.requests(received)[0]
        except Ambiguous:
            found.append(None)
    return status, found


class Answer(NamedTuple):
    """What a client has in the end: "whole", "cut", "refused" (with a page of the proxy's own), or "unreadable"."""

    kind: str
    interim: list[int]
    head: Message | None


def answered(upstream: RawUpstream, client: RawClient, reply: Reply) -> Answer:
    upstream.script = answer(*reply.parts, pause=0.05 if len(reply.parts) > 1 else 0.0, end=reply.end)
    client.send(request(method=reply.method))
    interim = []
    try:
        while (one := client.answer(reply.method, seconds=_SECONDS)).status < 200:
            interim.append(one.status)
    except (Truncated, TimeoutError):
        with contextlib.suppress(Ambiguous, Incomplete):
            return Answer("cut", interim, wire_message.response(client.unread, method=b"HEAD")[0])
        return Answer("unreadable", interim, None)
    except Ambiguous:
        return Answer("unreadable", interim, None)
    return Answer("refused" if one.status == 502 else "whole", interim, one)
