import pytest

from proxyd.core.header_rules import forwarded_lines
from proxyd.core.request_target import InvalidTarget, RequestTarget


@pytest.mark.parametrize(("client", "node"), [("192.0.2.7", b"192.0.2.7"), ("2001:db8::1", b'"[2001:db8::1]"')])
def test_the_upstream_is_told_who_asks(client: str, node: bytes) -> None:
    assert forwarded_lines(client=client, host=b"a.example:8443", proto=b"https") == (
        b"\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example:8443"
        b'\r\nForwarded: for=%b;host="a.example:8443";proto=https' % (client.encode(), node)
    )


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", b"/"),
        (b"/a//../b?x?", b"/a//../b?x?"),
        (b"http://a.example/x", b"/x"),
        (b"https://A.example", b"/"),
        (b"/%2F\xff", b"/%2F\xff"),
    ],
)
def test_targets(target: bytes, path: bytes) -> None:
    found = RequestTarget.parse("GET", target, [(b"host", b"a.example")])
    assert (found.host.text, found.path) == ("a.example", path)


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        (b"/", []),
        (b"/", [b"a.example", b"a.example"]),
        (b"/", [b"a.example/x"]),
        (b"/", [b"a example"]),
        (b"/", [b"x@a.example"]),
        (b"/", [b""]),
        (b"/", [b"\xe4.example"]),
        (b"x", [b"a.example"]),
        (b"*", [b"a.example"]),
        (b"/ /", [b"a.example"]),
        (b"http://b.example/", [b"a.example"]),
    ],
)
def test_what_is_no_target(target: bytes, hosts: list[bytes]) -> None:
    with pytest.raises(InvalidTarget) as caught:
        RequestTarget.parse("GET", target, [(b"Host", host) for host in hosts])
    assert caught.value.status == 400
