from collections.abc import Sequence

import pytest

from proxyd.core.body_length import CHUNKED, NO_BODY
from proxyd.core.request_head import RequestHead
from proxyd.core.request_scanner import MalformedRequest
from proxyd.frontend.h2.fault import StreamFault
from proxyd.frontend.h2.field import field_of
from proxyd.frontend.h2.request_reader import RequestReader, trailer_lines, unreadable

_START = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example:443"), (b":path", b"/x?y")]


def _read(
    *more: tuple[bytes, bytes], ends: bool = True, start: Sequence[tuple[bytes, bytes]] = _START, method: bytes = b"GET"
) -> RequestHead:
    fields = [field_of(name, method if name == b":method" else value) for name, value in (*start, *more)]
    return RequestReader(max_target=100).read(fields, ends=ends)


def test_a_request() -> None:
    head = _read((b"user-agent", b"me"), (b"accept", b"*/*"), (b"x-forwarded-for", b"1.2.3.4"), (b"te", b"trailers"))
    assert (head.method, head.target, head.path, head.version) == (b"GET", b"/x?y", b"/x?y", 20)
    assert head.authority == b"a.example:443"
    assert head.kept == b"\r\nuser-agent: me\r\naccept: */*"
    assert head.block.user_agent == b"me"
    assert head.block.accepts_trailers
    assert head.block.claims.x_forwarded_for == (b"1.2.3.4",)
    assert head.block.body == NO_BODY
    assert not head.block.length_zero


def test_crumbs_are_joined() -> None:
    """RFC 9113 §8.2.3."""
    assert _read((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")).kept == b"\r\nx: y\r\ncookie: a=1; b=2"


@pytest.mark.parametrize(
    ("method", "length", "ends", "body", "zero"),
    [
        (b"GET", None, True, NO_BODY, False),
        (b"POST", None, True, NO_BODY, True),
        (b"POST", b"0", True, NO_BODY, True),
        (b"POST", b"0", False, NO_BODY, True),
        (b"POST", b"5", False, 5, False),
        (b"POST", None, False, CHUNKED, False),
        (b"GET", None, False, CHUNKED, False),
    ],
)
def test_bodies(method: bytes, length: bytes | None, ends: bool, body: int, zero: bool) -> None:
    more = [] if length is None else [(b"content-length", length)]
    block = _read(*more, ends=ends, method=method).block
    assert (block.body, block.length_zero) == (body, zero)


def test_an_expectation_is_for_a_body() -> None:
    assert _read((b"expect", b"100-continue"), ends=False).block.expects_continue
    assert not _read((b"expect", b"100-Continue")).block.expects_continue


def test_a_websocket_becomes_an_upgrade() -> None:
    """RFC 8441 §5."""
    more = [
        (b":protocol", b"websocket"),
        (b"sec-websocket-key", b"x"),
        (b"sec-websocket-version", b"13"),
        (b"cookie", b"a=b"),
    ]
    head = _read(*more, ends=False, method=b"CONNECT")
    assert (head.method, head.block.upgrade, head.block.body) == (b"GET", b"websocket", NO_BODY)
    assert head.kept == b"\r\nsec-websocket-version: 13\r\ncookie: a=b"


def test_what_is_said_again_is_not_made_again() -> None:
    reader = RequestReader(max_target=100)
    heads = [
        reader.read([field_of(*one) for one in (*_START[:3], (b":path", path))], ends=True) for path in (b"/a", b"/b")
    ]
    assert heads[0].block is heads[1].block
    assert [one.path for one in heads] == [b"/a", b"/b"]
    other = reader.read([field_of(*one) for one in (*_START, (b"expect", b"100-continue"))], ends=False)
    assert other.block is not heads[0].block


@pytest.mark.parametrize("missing", [b":method", b":scheme", b":path"])
def test_pseudo_fields_are_there(missing: bytes) -> None:
    with pytest.raises(StreamFault):
        _read(start=[one for one in _START if one[0] != missing])


@pytest.mark.parametrize(("path", "status"), [(b"*", 400), (b"x", 400), (b"/#", 400), (b"/" + b"a" * 100, 414)])
def test_paths(path: bytes, status: int) -> None:
    with pytest.raises(MalformedRequest) as raised:
        _read(start=[*_START[:3], (b":path", path)])
    assert raised.value.status == status


def test_no_authority_at_all() -> None:
    with pytest.raises(MalformedRequest, match="no authority"):
        _read(start=[one for one in _START if one[0] != b":authority"])
    assert _read((b"host", b"A.example:443")).authority == b"a.example:443"
    with pytest.raises(MalformedRequest, match="host is not :authority"):
        _read((b"host", b"b.example"))


def test_who_stands_for_what_cannot_be_read() -> None:
    assert unreadable([field_of(b":method", b"HEAD")]).method == b"HEAD"
    assert unreadable([field_of(b":method", b"GET")]).method == b""
    assert unreadable([]).version == 20


def test_trailers() -> None:
    fields = [field_of(*one) for one in [(b"x-sum", b"1"), (b"authorization", b"x"), (b"cookie", b"x"), (b"x-b", b"2")]]
    assert trailer_lines(fields) == b"\r\nx-sum: 1\r\nx-b: 2"
    for name in (b":path", b"content-length", b"transfer-encoding", b"X-A", b"host"):
        with pytest.raises(StreamFault):
            trailer_lines([field_of(name, b"5")])
