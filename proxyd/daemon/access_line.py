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
#: What nginx and Apache escape between quotes.
_UNQUOTABLE: Final = re.compile(rb"[^ !#-\[\]-~]")
_SPACE: Final = r"\x20"
_REFERER: Final = re.compile(rb"(?:\A|\r\n)referer:[ \t]*([^\r]*)", re.IGNORECASE)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_USUAL: Final = "HTTP/1.1"
_VERSIONS: Final = {10: "HTTP/1.0", 11: _USUAL, 20: "HTTP/2.0"}
_MOST_LEARNT, _LONGEST_LEARNT = 1024, 512
#: Who asked for which host and how: its name, client, user, method, version and program.
_Who = tuple[str | None, str, str, bytes, int, bytes]


class AccessLine:
    """Remembers the moment of the last line. `at`: milliseconds since 1970; lines have UTC.

    `query`: whether a page that a client comes from is shown with its query.
    """

    def __init__(self, *, query: bool = True) -> None:
        self._query = query
        self._known: dict[_Who, tuple[str, str]] = {}
        self._at = self._second = self._combined_second = -1
        self._shown = self._shown_second = self._combined_shown = ""

    def json(self, record: AccessRecord, at: int) -> str:
        """Return a JSON object."""
        _, seconds, host, client, request, status, sent, request_id, user = record
        name, user_agent = None if host is None else host.text, request.block.user_agent
        who = name, client, user, request.method, request.version, user_agent
        known = self._known.get(who)
        if known is None:
            known = self._learnt(who)
        return (
            f'{{"time": "{self._moment(at)}{known[0]}{text(request.target.decode("latin-1"))}, "status": {status}, '
            f'"bytes": {sent}, "seconds": {seconds:.4f}, "request_id": "{request_id}"{known[1]}'
        )

    def plain(self, record: AccessRecord, at: int) -> str:
        """Return a line for a person."""
        return f"{self._moment(at)} INFO    {_plain(record)}"

    def journal(self, record: AccessRecord, at: int) -> str:
        """Return a line for the journal, which knows the time and takes <6> for "info" (sd-daemon(3))."""
        return f"<6>{_plain(record)}"

    def combined(self, record: AccessRecord, at: int) -> str:
        """Return a line of the combined format, as web servers write it and the usual tools read it."""
        request, block = record.request, record.request.block
        found = _REFERER.search(request.kept)
        referer = found[1].rstrip() if found else b"-"
        if not self._query:
            referer = referer.partition(b"?")[0]
        user = _escaped(record.user.encode()).replace(" ", _SPACE)
        return (
            f"{record.client or '-'} - {user or '-'} [{self._combined_moment(at)}] "
            f'"{_escaped(request.method)} {_escaped(request.target)} {_VERSIONS.get(request.version, _USUAL)}" '
            f'{record.status} {record.sent} "{_escaped(referer)}" '
            f'"{_escaped(block.user_agent) or "-"}"'
        )

    def _learnt(self, who: _Who) -> tuple[str, str]:
        """Return what a line of JSON has before and behind what differs in each request; within a bound, it is kept."""
        name, client, user, method, version, user_agent = who
        protocol, agent = _VERSIONS.get(version, _USUAL), user_agent.decode("latin-1")
        found = (
            f'", "level": "info", "logger": "proxyd.access", "event": "request", '
            f'"host": {_or_null(name)}, "client": {_or_null(client)}, "user": {_or_null(user)}, '
            f'"method": {text(method.decode("latin-1"))}, "target": ',
            f', "protocol": "{protocol}", "user_agent": {_or_null(agent)}}}',
        )
        if len(user_agent) <= _LONGEST_LEARNT:
            if len(self._known) >= _MOST_LEARNT:
                self._known.clear()
            self._known[who] = found
        return found

    def _moment(self, at: int) -> str:
        if at != self._at:
            self._at, (second, milliseconds) = at, divmod(at, 1000)
            if second != self._second:
                self._second, self._shown_second = second, f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
            self._shown = f"{self._shown_second}.{milliseconds:03d}Z"
        return self._shown

    def _combined_moment(self, at: int) -> str:
        second = at // 1000
        if second != self._combined_second:
            self._combined_second, moment = second, datetime.fromtimestamp(second, UTC)
            # By hand: %b is in the language of the machine.
            month = _MONTHS[moment.month - 1]
            self._combined_shown = f"{moment:%d}/{month}/{moment:%Y:%H:%M:%S} +0000"
        return self._combined_shown


def quoted(value: str) -> str:
    """Nothing that a client or CA sent may forge a line or colour a terminal."""
    if not value.isprintable():
        return json.dumps(value)
    return value if value and _SPECIAL.search(value) is None else json.dumps(value, ensure_ascii=False)


def _or_null(value: str | None) -> str:
    return text(value) if value else "null"


def _plain(record: AccessRecord) -> str:
    _, seconds, host, client, request, status, sent, request_id, user = record
    user_agent = request.block.user_agent
    named = "" if host is None else f"host={host.text} "
    came = f"client={client} " if client else ""
    who = f"user={quoted(user)} " if user else ""
    agent = f" user_agent={quoted(user_agent.decode('latin-1'))}" if user_agent else ""
    return (
        f"request {named}{came}{who}method={quoted(request.method.decode('latin-1'))} "
        f"target={quoted(request.target.decode('latin-1'))} status={status} bytes={sent} seconds={seconds:.4f} "
        f"request_id={request_id}{agent}"
    )


def _escaped(written: bytes) -> str:
    return _UNQUOTABLE.sub(lambda found: b"\\x%02X" % found[0][0], written).decode("ascii")
