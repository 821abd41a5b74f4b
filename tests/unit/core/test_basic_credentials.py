"""User name and password, out of a block of header lines."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.basic_credentials import credentials_of


def line(value: bytes, name: bytes = b"Authorization") -> bytes:
    return b"\r\nAccept: */*\r\n%b: %b\r\nX-Last: 1" % (name, value)


def basic(pair: bytes) -> bytes:
    return b"Basic " + b64encode(pair)


def test_what_clients_send() -> None:
    assert credentials_of(line(basic(b"alice:a:b c"))) == (b"alice", b"a:b c")
    assert credentials_of(line(b"bAsIc   " + b64encode(b"alice:x"), b"AUTHORIZATION")) == (b"alice", b"x")
    assert credentials_of(b"\r\nauthorization:" + basic(b":")) == (b"", b"")
    assert credentials_of(line(basic("Jörg:pässword".encode()))) == ("Jörg".encode(), "pässword".encode())
    assert "x" not in repr(credentials_of(line(basic(b"xxx:xxx"))))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\r\nX-Authorization: " + basic(b"a:b"),
        b"\r\nX: y, authorization:" + basic(b"a:b"),
        line(basic(b"alice")),
        line(b"Bearer abc"),
        line(b"Basic"),
        line(b"Basic !!!!"),
        line(b"Basic YWxpY2U6eA=== "),
        line(basic(b"a:b") + b" more"),
        line(basic(b"a:b\0c")),
        line(basic(b"a\n:b")),
        line(basic(b"a:" + b"x" * 4096)),
        line(basic(b"a:b")) + line(basic(b"a:b")),
    ],
)
def test_what_is_none(block: bytes) -> None:
    assert credentials_of(block) is None


@given(st.binary(max_size=200))
def test_any_bytes_may_come(value: bytes) -> None:
    credentials_of(b"\r\nAuthorization: Basic " + value)
    found = credentials_of(line(basic(b"n:" + value)))
    assert found is None or found == (b"n", value)
