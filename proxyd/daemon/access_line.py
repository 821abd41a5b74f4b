"""The access log's line of a request: for a person, the journal or a machine.

Written out by hand: it is what a request costs most after its way through the kernel.
"""

import json
import re
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as text
from typing import Final

from proxyd.proxy.access_log import AccessRecord

_SPECIAL: Final = re.compile('[ "=]')


class AccessLine:
    """Remembers the second of the last line. `at`: milliseconds since 1970; lines have UTC."""

    def __init__(self) -> None:
        self._second = -1
        self._shown_second = ""

    def json(self, record: AccessRecord, at: int) -> str:
        """Return a JSON object."""
        _, seconds, host, client, method, target, status, sent, request_id, user_agent = record
        return (
            f'{{"time": "{self._moment(at)}", "level": "info", "logger": "proxyd.access", "event": "request", '
            f'"host": {"null" if host is None else text(host.text)}, '
            f'"client": {text(client)}, "method": {text(method.decode("latin-1"))}, '
            f'"target": {text(target.decode("latin-1"))}, "status": {status}, "bytes": {sent}, '
            f'"seconds": {seconds:.4f}, "request_id": "{request_id}", '
            f'"user_agent": {text(user_agent.decode("latin-1")) if user_agent else "null"}}}'
        )

    def plain(self, record: AccessRecord, at: int) -> str:
        """Return a line for a person."""
        return f"{self._moment(at)} INFO    {_plain(record)}"

    def journal(self, record: AccessRecord, at: int) -> str:
        """Return a line for the journal, which knows the time and takes <6> for "info" (sd-daemon(3))."""
        return f"<6>{_plain(record)}"

    def _moment(self, at: int) -> str:
        second, milliseconds = divmod(at, 1000)
        if second != self._second:
            self._second, self._shown_second = second, f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
        return f"{self._shown_second}.{milliseconds:03d}Z"


def quoted(value: str) -> str:
    """Nothing that a client or CA sent may forge a line or colour a terminal."""
    if not value.isprintable():
        return json.dumps(value)
    return value if value and _SPECIAL.search(value) is None else json.dumps(value, ensure_ascii=False)


def _plain(record: AccessRecord) -> str:
    _, seconds, host, client, method, target, status, sent, request_id, user_agent = record
    named = "" if host is None else f"host={host.text} "
    agent = f" user_agent={quoted(user_agent.decode('latin-1'))}" if user_agent else ""
    return (
        f"request {named}client={client} method={quoted(method.decode('latin-1'))} "
        f"target={quoted(target.decode('latin-1'))} status={status} bytes={sent} seconds={seconds:.4f} "
        f"request_id={request_id}{agent}"
    )
