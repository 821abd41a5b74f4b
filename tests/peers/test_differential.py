"""The same bytes through nginx and through the daemon: who makes something else of them has a reason.

The reasons are those of nginx 1.22, which Debian 12 has. One that no longer holds fails, as does what differs without.
"""

import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.support.corpus import MALFORMED, REQUESTS
from tests.support.nginx import nginx
from tests.support.raw_client import RawClient
from tests.support.replies import REPLIES
from tests.support.through import Answer, answered, passed
from tests.support.wire import HOST, OURS, Wire, running
from tests.support.wire_message import Message

pytestmark = pytest.mark.peers
_DECODES = (
    "nginx decodes and normalises the path for itself, and cannot; a proxy need not (RFC 9110 §4.2.3, RFC 3986 §6)"
)
_NO_HOPS = (
    "what Connection names is for one connection only (RFC 9110 §7.6.1); nginx looks at close and keep-alive alone"
)
_FOR_ONE = "a field for one connection, that nginx does not know as such (RFC 9110 §7.6.1, §11.7)"
_OWS = "nginx strips spaces alone; white space around a value may be tabs too (RFC 9110 §5.5, §5.6.3)"
_WHO_ASKS = "who asks is the proxy's to say: a plain nginx passes on what anybody claims"
_EXPECTS = "proxyd lets the upstream decide whether the body is wanted; nginx asks for it at once (RFC 9110 §10.1.1)"
_TRAILERS = "nginx drops them, which it may (RFC 9112 §7.1.2); proxyd drops what could be taken for a field of the head"

#: By request: what differs, and why.
DIFFERENT_REQUESTS = {
    "method A_1": ("proxyd: passed, nginx: refused", "a method is any token, digits too (RFC 9110 §9.1, §5.6.2)"),
    "target /../x": ("proxyd: passed, nginx: refused", _DECODES),
    "target /a/../../b": ("proxyd: passed, nginx: refused", _DECODES),
    "target /%2e%2e/%2E": ("proxyd: passed, nginx: refused", _DECODES),
    "target /%00": ("proxyd: passed, nginx: refused", _DECODES),
    "target /%zz%": ("proxyd: passed, nginx: refused", _DECODES),
    "target *": (
        "proxyd: passed, nginx: refused",
        "it asks about the server (RFC 9110 §9.3.7); nginx does not know it",
    ),
    "nominated": ("only nginx passes X-Mine", _NO_HOPS),
    "http2 settings": ("only nginx passes HTTP2-Settings", _NO_HOPS),
    "proxy fields": ("only nginx passes Proxy-Connection, Proxy-Authorization", _FOR_ONE),
    "forged": ("only nginx passes X-Real-IP", _WHO_ASKS),
    "forged by an alias": (
        "only nginx passes X_Forwarded_For, X_Forwarded_Proto",
        _WHO_ASKS + "; CGI and its heirs read these as X-Forwarded-For and X-Forwarded-Proto",
    ),
    "length in white space": ("proxyd: passed, nginx: refused", _OWS),
    "chunked in tabs": ("proxyd: passed, nginx: refused", _OWS),
    "trailers": ("only proxyd passes trailers", _TRAILERS),
    "expect": ("only proxyd passes Expect", _EXPECTS),
    "expect in chunks": ("only proxyd passes Expect", _EXPECTS),
}

_ONE_SPACE = "single spaces part a request line (RFC 9112 §3): who takes more may see other parts than the next reader"
_LENIENT_LF = "a recipient may take LF for a line end (RFC 9112 §2.2); another may not, and sees another message"
_TOKENS = "no token (RFC 9110 §5.1, §5.6.2); nginx takes it as it was told not to drop such fields"
_CONTROL = "control characters in values are invalid (RFC 9110 §5.5): the next reader may end the line there"
_CHUNK_LINES = "lines of chunks end with CRLF and hold no control character (RFC 9112 §7.1): others smuggle by them"
_ONE_HOST = "the target and Host name two hosts; RFC 9112 §3.2.2 believes the target, many readers Host"
_AUTHORITY = "Host is uri-host and port, nothing else (RFC 9110 §7.2); nginx passes on what it has not understood"
_TRAILER_LINES = "trailers are field lines (RFC 9112 §7.1.2); nginx skips them unread"

#: By malformed request that nginx takes all the same: why refusing it is right. Nothing that nginx refuses is taken.
TAKEN_BY_NGINX = {
    "two spaces": _ONE_SPACE,
    "space after the line": _ONE_SPACE,
    "fragment": "no form of a target has a fragment (RFC 9112 §3.2); nginx passes it on",
    "version 1 2": "there is no such version: who says so speaks something else (RFC 9110 §2.5 would have it as 1.1)",
    "HTTP 0.9": "obsolete (RFC 9112 C.1); without Host it is for nobody, and nginx asks the upstream without one",
    "absolute for another host": _ONE_HOST,
    "another scheme": "not ours to serve (RFC 9110 §7.4)",
    "LF ends the request line": _LENIENT_LF,
    "LF ends every line": _LENIENT_LF,
    "LF before the request line": _LENIENT_LF,
    "bare LF in the value": _LENIENT_LF,
    "bare LFs end the head": _LENIENT_LF,
    "Host of nobody here": "421: no certificate of ours is for it (RFC 9110 §7.4); nginx has one server, for all names",
    "Host with user information": _AUTHORITY,
    "Host with a port that is none": _AUTHORITY,
    "no Host in 1.0": "allowed, but for nobody here; nginx asks in 1.1 without Host, which is not (RFC 9112 §3.2)",
    "no colon": "no field line (RFC 9112 §5); nginx drops it",
    "separator in the name": _TOKENS,
    "letter beyond ASCII in the name": _TOKENS,
    "control character in the value": _CONTROL,
    "DEL in the value": _CONTROL,
    "an alias of framing": "CGI reads it as Content-Length: a second opinion on where the body ends",
    "another expectation": "417 is for it (RFC 9110 §10.1.1); nginx drops it",
    "space after the size": "no white space is allowed there; RFC 9112 §7.1.1 calls it bad around extensions",
    "LF ends the size": _CHUNK_LINES,
    "LF ends the data": _CHUNK_LINES,
    "LF in an extension": _CHUNK_LINES,
    "NUL in an extension": _CHUNK_LINES,
    "LF ends the last size": _CHUNK_LINES,
    "trailer with a space before the colon": _TRAILER_LINES,
    "trailer without a colon": _TRAILER_LINES,
    "Content Length after the body": "framing after the body is never an honest sender's (RFC 9110 §6.5.1)",
}

_LENGTHS = "where the body ends is anybody's guess (RFC 9112 §6.3): such a response must become a 502"
_CODINGS = "a coding that is not understood, or cannot be there (RFC 9112 §6.1, §6.3), hides where the body ends"
_STATUS_LINE = "not the status line of RFC 9112 §4; nginx makes one of it, or passes it on"
_REFUSED = "proxyd: refused, nginx: whole"
_UNREADABLE = "proxyd: refused, nginx: unreadable"

#: By reply of the upstream: what differs for the client, and why.
DIFFERENT_REPLIES = {
    "nominated": ("only nginx passes X-Mine", _NO_HOPS),
    "proxy fields": ("only nginx passes Proxy-Authenticate, Proxy-Connection", _FOR_ONE),
    "upgrade": ("only nginx passes Upgrade", "Upgrade without Connection is for nobody (RFC 9110 §7.8, §7.6.1)"),
    "no reason and no space": (
        "proxyd: whole, nginx: unreadable",
        "the space after the status must be there (RFC 9112 §4): proxyd writes it, nginx passes on what came",
    ),
    "no content of length 0": ("length", "a 204 has no Content-Length (RFC 9110 §8.6); nginx passes it on"),
    "a 100 that nobody asked for": (
        "interim responses",
        "RFC 9110 §15.2 would have it forwarded, §15.2.1 lets the client discard it: proxyd does so in its place",
    ),
    "no HTTP": (_UNREADABLE, "nginx takes it for HTTP/0.9, which upstreams do not speak (RFC 9112 C.1)"),
    "version 2 0": (_REFUSED, _STATUS_LINE),
    "version 1 2": (_REFUSED, _STATUS_LINE),
    "two digits": (_UNREADABLE, _STATUS_LINE),
    "two spaces": (_REFUSED, _STATUS_LINE),
    "control character in the reason": (_UNREADABLE, _STATUS_LINE),
    "LF ends the status line": (_REFUSED, _LENIENT_LF),
    "LF ends a line": (_REFUSED, _LENIENT_LF),
    "control character in a value": (_UNREADABLE, _CONTROL),
    "no colon": (_REFUSED, "no field line (RFC 9112 §5); nginx makes an empty field of it"),
    "separator in a name": (_UNREADABLE, "no token (RFC 9110 §5.1): nginx passes on what a client may refuse"),
    "lengths that differ": (_REFUSED, _LENGTHS),
    "lengths alike": (_REFUSED, _LENGTHS + ", or be repaired (RFC 9110 §8.6): who repairs guesses"),
    "length that is none": (_REFUSED, _LENGTHS),
    "negative length": (_REFUSED, _LENGTHS),
    "length with a sign": (_REFUSED, _LENGTHS),
    "length and chunks": (_REFUSED, _LENGTHS),
    "unknown coding": (_REFUSED, _CODINGS),
    "gzip before chunked": (_REFUSED, _CODINGS),
    "chunks of 1 0": (_REFUSED, _CODINGS),
    "LF ends a size": ("proxyd: cut, nginx: whole", _CHUNK_LINES),
    "a switch that nobody asked for": (
        _UNREADABLE,
        "it must not be (RFC 9110 §7.8): nginx passes on what follows it, without the head",
    ),
}


class Pair(NamedTuple):
    """Both before the same upstream, with the same certificate."""

    wire: Wire
    nginx_port: int

    def clients(self) -> Iterator[RawClient]:
        """Give a connection to the daemon, then one to nginx; the upstream has forgotten what was before."""
        for port in (self.wire.daemon.https_port, self.nginx_port):
            self.wire.upstream.reset()
            with RawClient(port, self.wire.context, HOST) as client:
                yield client


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("nginx")
    with (
        running(tmp_path_factory.mktemp("wire"), {}, {}) as wire,
        nginx(directory, pem=wire.daemon.cache / HOST, upstream=wire.upstream.port) as port,
    ):
        yield Pair(wire, port)


@pytest.fixture(scope="module")
def version() -> str:
    return subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip()


def test_the_corpus_is_large_and_every_reason_is_for_one_of_it() -> None:
    assert len(REQUESTS) >= 100
    assert len(MALFORMED) >= 100
    assert len(REPLIES) >= 100
    assert DIFFERENT_REQUESTS.keys() <= REQUESTS.keys()
    assert TAKEN_BY_NGINX.keys() <= MALFORMED.keys()
    assert DIFFERENT_REPLIES.keys() <= REPLIES.keys()


@pytest.mark.parametrize("name", REQUESTS)
def test_the_upstream_sees_the_same_request(pair: Pair, version: str, name: str) -> None:
    (our_status, ours), (_, theirs) = (passed(pair.wire.upstream, client, REQUESTS[name]) for client in pair.clients())
    assert our_status == 200
    expected, why = DIFFERENT_REQUESTS.get(name, ("", ""))
    assert _request_difference(ours, theirs) == expected, f"{version}: {why}"


@pytest.mark.parametrize("name", MALFORMED)
def test_what_nginx_refuses_is_refused_and_more(pair: Pair, version: str, name: str) -> None:
    (our_status, ours), (_, theirs) = (passed(pair.wire.upstream, client, MALFORMED[name]) for client in pair.clients())
    assert our_status >= 400
    assert not ours
    assert bool(theirs) == (name in TAKEN_BY_NGINX), f"{version}: {TAKEN_BY_NGINX.get(name)}"


@pytest.mark.parametrize("name", REPLIES)
def test_the_client_sees_the_same_response(pair: Pair, version: str, name: str) -> None:
    ours, theirs = (answered(pair.wire.upstream, client, REPLIES[name]) for client in pair.clients())
    expected, why = DIFFERENT_REPLIES.get(name, ("", ""))
    assert _reply_difference(ours, theirs) == expected, f"{version}: {why}"


# Requests


def _request_difference(ours: list[Message | None], theirs: list[Message | None]) -> str:
    if not ours or not theirs:
        verdicts = ["passed" if each else "refused" for each in (ours, theirs)]
        return "" if verdicts[0] == verdicts[1] else f"proxyd: {verdicts[0]}, nginx: {verdicts[1]}"
    (our,), (their,) = ours, theirs
    assert our is not None
    assert their is not None
    found = [
        name
        for name, one, other in (
            ("request line", our.first, their.first),
            ("Host", our.value(b"Host"), their.value(b"Host")),
            ("body", our.body, their.body),
            # Whoever has all of a chunked body may give its length instead (RFC 9112 §6.1).
            ("framing", _is_framed(our), _is_framed(their)),
        )
        if one != other
    ]
    found += _field_difference(_end_to_end(our), _end_to_end(their))
    found += _only("proxyd", [(b"trailers", b"")] * bool(our.trailers and not their.trailers))
    return "; ".join(found)


def _is_framed(message: Message) -> bool:
    return message.chunked or bool(message.values(b"Content-Length"))


def _end_to_end(message: Message) -> "Fields":
    ours = {name.lower() for name in OURS}
    return [field for field in message.fields if field[0].lower() not in ours]


Fields = list[tuple[bytes, bytes]]


def _field_difference(ours: Fields, theirs: Fields) -> list[str]:
    found = _only("proxyd", [one for one in ours if one not in theirs])
    found += _only("nginx", [one for one in theirs if one not in ours])
    return found or ["fields"] * (ours != theirs)


def _only(who: str, fields: Fields) -> list[str]:
    return [f"only {who} passes {', '.join(name.decode('latin-1') for name, _ in fields)}"] if fields else []


# Responses


def _reply_difference(ours: Answer, theirs: Answer) -> str:
    if ours.kind != theirs.kind:
        return f"proxyd: {ours.kind}, nginx: {theirs.kind}"
    if ours.kind in ("refused", "unreadable"):
        return ""
    our, their = ours.head, theirs.head
    assert our is not None
    assert their is not None
    found = ["interim responses"] * (ours.interim != theirs.interim)
    found += ["status line"] * (our.first != their.first)
    found += ["body"] * (our.body != their.body)
    if our.status == 304 or not our.body:
        found += ["length"] * (our.values(b"Content-Length") != their.values(b"Content-Length"))
    return "; ".join(found + _field_difference(_for_the_client(our), _for_the_client(their)))


def _for_the_client(message: Message) -> Fields:
    """Return what came from the upstream. nginx has an order of its own, which matters for equal names only."""
    framing = (b"connection", b"transfer-encoding", b"content-length")
    fields = [
        (name, value)
        for name, value in message.fields
        if name.lower() not in framing
        and not (name == b"Server" and value.startswith(b"nginx"))
        and not (name == b"Date" and b" 1994 " not in value)
    ]
    return sorted(fields, key=lambda field: field[0].lower())
