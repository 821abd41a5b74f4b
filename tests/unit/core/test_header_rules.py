import pytest

from proxyd.core.header_rules import to_downstream, to_upstream
from proxyd.core.request_target import InvalidTarget, RequestTarget


def sent(*fields: tuple[bytes, bytes], client: str = "192.0.2.7") -> dict[bytes, bytes]:
    found = to_upstream(fields, client=client, host=b"a.example", proto="https", request_id="1")
    assert len({name.lower() for name, _ in found}) == len(found)
    return {name.lower(): value for name, value in found}


def test_forwarded_headers_are_ours() -> None:
    headers = sent(
        (b"X-Forwarded-For", b"6.6.6.6"),
        (b"x_forwarded_proto", b"http"),
        (b"Forwarded", b"for=6.6.6.6"),
        (b"Client-Cert", b"forged"),
        (b"Accept", b"*/*"),
    )
    assert headers == {
        b"accept": b"*/*",
        b"x-forwarded-for": b"192.0.2.7",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"a.example",
        b"forwarded": b'for=192.0.2.7;host="a.example";proto=https',
        b"x-request-id": b"1",
    }


def test_ipv6_is_quoted() -> None:
    assert sent(client="2001:db8::1")[b"forwarded"].startswith(b'for="[2001:db8::1]";')


def test_hop_by_hop_goes_whoever_nominates_it_but_not_host_nor_ours() -> None:
    headers = sent(
        (b"Host", b"a.example"),
        (b"Connection", b"close, X-One"),
        (b"connection", b"host , x-forwarded-for"),
        (b"X-One", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"TE", b"trailers"),
        (b"Expect", b"100-continue"),
    )
    assert set(headers) == {
        b"host",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"forwarded",
        b"x-request-id",
    }


def test_responses() -> None:
    fields = [(b"Connection", b"x-two"), (b"X-Two", b"2"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]
    assert to_downstream(fields) == [(b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]


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
