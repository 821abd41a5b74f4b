import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.client_hello import MAX_BYTES, ClientHello, NeedMore, NotClientHello, parse


def hello(server_name: str | None = "a.example", alpn: list[str] | None = None) -> bytes:
    """Return the ClientHello that this machine's OpenSSL sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's CAs: they take long
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(alpn)
    out = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return out.read()


def split_records(data: bytes, size: int) -> bytes:
    """Return the same handshake message in records of at most `size` bytes."""
    message = data[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(data[:3] + len(part).to_bytes(2) + part for part in parts)


def test_openssl() -> None:
    assert parse(hello(alpn=["h2", "http/1.1"])) == ClientHello(server_name="a.example", alpn=(b"h2", b"http/1.1"))
    assert parse(hello(None)) == ClientHello(server_name=None, alpn=())


@pytest.mark.parametrize("size", [1, 3, 7, 100, 5000])
def test_split_over_records(size: int) -> None:
    assert parse(split_records(hello(), size)) == ClientHello(server_name="a.example", alpn=())


@pytest.mark.parametrize("size", [5000, 50])
def test_every_prefix_asks_for_more_and_gets_there(size: int) -> None:
    data = split_records(hello(), size)
    for end in range(len(data)):
        found = parse(data[:end])
        assert isinstance(found, NeedMore)
        assert end < found.total <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x80\x2e\x01\x00\x02",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x15\x03\x01\x00\x02\x01\x00",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x06\x01\x00\x00\x02ab",
    ],
)
def test_what_is_no_hello(data: bytes) -> None:
    with pytest.raises(NotClientHello):
        parse(data)


@given(st.data())
def test_mutated_hellos_never_raise_anything_else(data: st.DataObject) -> None:
    mutated = bytearray(hello())
    for _ in range(data.draw(st.integers(1, 8))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse(bytes(mutated))
    except NotClientHello:
        return
    if isinstance(found, NeedMore):
        assert len(mutated) < found.total <= MAX_BYTES


@given(st.binary(max_size=200))
def test_noise(data: bytes) -> None:
    with contextlib.suppress(NotClientHello):
        parse(b"\x16\x03\x01" + data)
