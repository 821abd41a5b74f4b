import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.proxy_protocol import MAX_BYTES, NeedMore, NotProxyHeader, ProxyHeader, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
REST = b"\x16\x03\x01"


def second(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


TCP4 = second(0x21, 0x11, socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + b"\x01\x00\x01\xbb")
TCP6 = second(
    0x21,
    0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "::ffff:1.2.3.4")
    + b"\0\1\0\2",
)
HEADERS = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 256 443\r\n": ("192.0.2.7", "198.51.100.1"),
    b"PROXY TCP6 2001:DB8::7 2001:db8::1 256 443\r\n": ("2001:db8::7", "2001:db8::1"),
    b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 0 65535\r\n": ("192.0.2.7", "198.51.100.1"),
    b"PROXY UNKNOWN\r\n": (None, None),
    b"PROXY UNKNOWN ffff:f::ffff ffff:f::ffff 65535 65535\r\n": (None, None),
    TCP4: ("192.0.2.7", "198.51.100.1"),
    TCP6: ("2001:db8::7", "1.2.3.4"),
    second(0x21, 0x11, TCP4[16:] + b"\x04\x00\x01x"): ("192.0.2.7", "198.51.100.1"),  # an extension follows
    second(0x20, 0x00, b""): (None, None),  # LOCAL: a health check of the load balancer
    second(0x20, 0x11, TCP4[16:]): (None, None),
    second(0x20, 0xFF, b"anything"): (None, None),
    second(0x21, 0x00, b"anything"): (None, None),
    second(0x21, 0x31, bytes(216)): (None, None),
}


@pytest.mark.parametrize("header", HEADERS, ids=repr)
def test_exactly_the_header_is_read(header: bytes) -> None:
    found = ProxyHeader(len(header), *HEADERS[header])
    assert parse(header) == found
    assert parse(header + REST) == found
    assert parse(header + header) == found


@pytest.mark.parametrize("header", HEADERS, ids=repr)
def test_of_less_it_says_how_much_is_needed(header: bytes) -> None:
    for cut in range(len(header)):
        more = parse(header[:cut])
        assert isinstance(more, NeedMore)
        assert cut < more.total <= len(header)


@pytest.mark.parametrize(
    "data",
    [
        REST,
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n" + b"x" * 107,
        b"PROXY UNKNOWN " + b"x" * 107 + b"\r\n",
        second(0x11, 0x11, TCP4[16:]),
        second(0x22, 0x11, TCP4[16:]),
        second(0x21, 0x12, TCP4[16:]),
        second(0x21, 0x11, TCP4[16:-1]),
        second(0x21, 0x21, TCP4[16:]),
        second(0x21, 0x11, bytes(MAX_BYTES)),
    ],
)
def test_anything_else_is_no_header(data: bytes) -> None:
    with pytest.raises(NotProxyHeader):
        parse(data)


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21\x21\0"]))
def test_whatever_comes_is_a_header_or_refused(data: bytes, before: bytes) -> None:
    try:
        found = parse(before + data)
    except NotProxyHeader:
        return
    if isinstance(found, NeedMore):
        assert len(before + data) < found.total <= MAX_BYTES
    else:
        assert found.length <= len(before + data)
