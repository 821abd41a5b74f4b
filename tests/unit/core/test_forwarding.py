import pytest

from proxyd.core.forwarding import Asker, asker_of, believed_host, believed_proto, forwarded_lines
from proxyd.core.networks import Networks, network_of
from proxyd.core.request_scanner import Claims

TRUSTED = Networks([network_of("10.0.0.0/8"), network_of("fd00::/8")])


@pytest.mark.parametrize(("client", "node"), [("192.0.2.7", b"192.0.2.7"), ("2001:db8::1", b'"[2001:db8::1]"')])
def test_the_upstream_is_told_who_asks(client: str, node: bytes) -> None:
    assert forwarded_lines(client=client, host=b"a.example:8443", proto=b"https") == (
        b"\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example:8443"
        b'\r\nForwarded: for=%b;host="a.example:8443";proto=https' % (client.encode(), node)
    )


def test_the_upstream_is_told_through_whom() -> None:
    lines = forwarded_lines(client="192.0.2.7", host=b"a.example", proto=b"http", through=("fd00::1", "10.0.0.1"))
    assert b"\r\nX-Forwarded-For: 192.0.2.7, fd00::1, 10.0.0.1\r\n" in lines
    assert lines.endswith(b'for=192.0.2.7;host="a.example";proto=http, for="[fd00::1]", for=10.0.0.1')


@pytest.mark.parametrize(
    ("peer", "written", "client", "through"),
    [
        ("192.0.2.1", [b"198.51.100.1"], "192.0.2.1", ()),  # a stranger is not believed
        ("10.0.0.1", [], "10.0.0.1", ()),
        ("10.0.0.1", [b""], "10.0.0.1", ()),
        ("10.0.0.1", [b"192.0.2.7"], "192.0.2.7", ("10.0.0.1",)),
        ("10.0.0.1", [b"9.9.9.9, 192.0.2.7"], "192.0.2.7", ("10.0.0.1",)),  # the client made up 9.9.9.9
        ("10.0.0.1", [b"9.9.9.9, 192.0.2.7 ,10.0.0.2"], "192.0.2.7", ("10.0.0.2", "10.0.0.1")),
        ("10.0.0.1", [b"9.9.9.9", b"192.0.2.7", b"10.0.0.2"], "192.0.2.7", ("10.0.0.2", "10.0.0.1")),
        ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3", ("10.0.0.2", "10.0.0.1")),  # all are ours
        ("10.0.0.1", [b"192.0.2.7, unknown"], "10.0.0.1", ()),
        ("10.0.0.1", [b"192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2", ("10.0.0.1",)),
        ("10.0.0.1", [b"192.0.2.7:5678"], "192.0.2.7", ("10.0.0.1",)),
        ("10.0.0.1", [b'"[2001:DB8::1]:5678"'], "2001:db8::1", ("10.0.0.1",)),
        ("10.0.0.1", [b"::ffff:192.0.2.7"], "192.0.2.7", ("10.0.0.1",)),
        ("10.0.0.1", [b"192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7", ("10.0.0.2", "10.0.0.1")),
        ("10.0.0.1", [b"192.0.2.7\xff"], "10.0.0.1", ()),
        ("10.0.0.1", [b"1.2.3.4%evil\xe9"], "1.2.3.4", ("10.0.0.1",)),
    ],
)
def test_trusted_proxies_are_believed_from_right_to_left(
    peer: str, written: list[bytes], client: str, through: tuple[str, ...]
) -> None:
    assert asker_of(peer, written, TRUSTED) == Asker(client, through)


@pytest.mark.parametrize(
    ("written", "proto"),
    [
        ((), b"https"),
        ((b"http",), b"http"),
        ((b"HTTPS",), b"https"),
        ((b"wss",), b"https"),
        ((b"https, http",), b"http"),  # only the last is the word of who is trusted
        ((b"http", b"https"), b"https"),
        ((b"gopher",), b"https"),
        ((b'http;host="x"',), b"https"),
    ],
)
def test_what_scheme_is_believed(written: tuple[bytes, ...], proto: bytes) -> None:
    assert believed_proto(Claims(x_forwarded_proto=written), b"https") == proto


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ((), b"own"),
        ((b"shop.example:8443",), b"shop.example:8443"),
        ((b"evil.example, shop.example",), b"shop.example"),
        ((b'a"b',), b"own"),
        ((b"a b",), b"own"),
        ((b"",), b"own"),
    ],
)
def test_what_host_is_believed(written: tuple[bytes, ...], host: bytes) -> None:
    assert believed_host(Claims(x_forwarded_host=written), b"own") == host
