"""Which host a request is for: one answer for everybody who reads it, or none."""

import pytest

from tests.support.wire import HOST, HOST_LINE, NEIGHBOUR, OTHER, SMUGGLED, Wire, cases, raw

MALFORMED = [
    ("none", b""),
    ("empty", b"Host:\r\n"),
    ("blank", b"Host: \t \r\n"),
    ("two", b"HOST\r\nHOST\r\n"),
    ("two that differ", b"HOST\r\nHost: other.example.test\r\n"),
    ("two, the first not ours", b"Host: other.example.test\r\nHOST\r\n"),
    ("two, one empty", b"HOST\r\nHost:\r\n"),
    ("two, apart and in another case", b"HOST\r\nX: y\r\nhOsT: host.example.test\r\n"),
    ("a list", b"Host: host.example.test, other.example.test\r\n"),
    ("a list of two words", b"Host: host.example.test other.example.test\r\n"),
    ("a path", b"Host: host.example.test/x\r\n"),
    ("a query", b"Host: host.example.test?x\r\n"),
    ("a fragment", b"Host: host.example.test#x\r\n"),
    ("a URL", b"Host: https://host.example.test\r\n"),
    ("a user", b"Host: x@host.example.test\r\n"),
    ("a user and a password", b"Host: x:y@host.example.test\r\n"),
    ("ours as the user", b"Host: host.example.test@other.example.test\r\n"),
    ("ours as the user, escaped", b"Host: host.example.test%40other.example.test\r\n"),
    ("a percent escape", b"Host: host%2eexample.test\r\n"),
    ("a backslash", b"Host: host.example.test\\x\r\n"),
    ("a tab within", b"Host: host.example\t.test\r\n"),
    ("beyond ASCII", b"Host: h\xc3\xb6st.example.test\r\n"),
    ("a full-width dot", "Host: host\uff0eexample.test\r\n".encode()),
    ("NUL after it", b"Host: host.example.test\x00\r\n"),
    ("NUL and another", b"Host: host.example.test\x00.other.example.test\r\n"),
    ("a bare CR after it", b"Host: host.example.test\r\r\n"),
    ("a bare LF and another", b"Host: host.example.test\nHost: other.example.test\r\n"),
    ("folded", b"Host:\r\n host.example.test\r\n"),
    ("folded after the name", b"Host: host.example.test\r\n .other.example.test\r\n"),
    ("a space before the colon", b"Host : host.example.test\r\n"),
    ("a space before it", b" Host: host.example.test\r\n"),
    ("quotes", b'Host: "host.example.test"\r\n'),
    ("brackets", b"Host: [host.example.test]\r\n"),
    ("half an IPv6 address", b"Host: [::1\r\n"),
    ("an IPv6 address without brackets", b"Host: ::1\r\n"),
    ("an IPv6 address with a zone", b"Host: [fe80::1%25eth0]\r\n"),
    ("an empty port, stricter than RFC 9110", b"Host: host.example.test:\r\n"),
    ("a port that is none", b"Host: host.example.test:x\r\n"),
    ("a port with a sign", b"Host: host.example.test:+443\r\n"),
    ("a port that is too large", b"Host: host.example.test:65536\r\n"),
    ("two ports", b"Host: host.example.test:443:443\r\n"),
    ("a space before the port", b"Host: host.example.test :443\r\n"),
    ("a port alone", b"Host: :443\r\n"),
    ("an empty label", b"Host: host..example.test\r\n"),
    ("a dot before it", b"Host: .host.example.test\r\n"),
    ("a comma after it", b"Host: host.example.test,\r\n"),
    ("semicolon", b"Host: host.example.test;x\r\n"),
    ("a name that is too long", b"Host: " + b"a" * 5000 + b".test\r\n"),
    ("nothing but an alias of it", b"Host_: host.example.test\r\n"),
]


@cases(*MALFORMED)
def test_a_malformed_or_doubled_host_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(raw(b"GET /smuggled HTTP/1.1\r\n" + attack + b"X-Last: 1\r\n\r\n") + SMUGGLED, 400)


@cases(
    ("another listed host", b"https://other.example.test/smuggled"),
    ("a host not listed", b"https://evil.test/smuggled"),
    ("another of the same certificate", b"https://neighbour.example.test/smuggled"),
    ("a user before it", b"https://x@host.example.test/smuggled"),
    ("ours as the user", b"https://host.example.test@other.example.test/smuggled"),
    ("no host", b"https:///smuggled"),
    ("one slash", b"https:/host.example.test/smuggled"),
    ("no slash", b"https:host.example.test/smuggled"),
    ("another scheme", b"ftp://host.example.test/smuggled"),
    ("no scheme", b"://host.example.test/smuggled"),
    ("another port", b"https://host.example.test:444/smuggled"),
    ("a backslash", b"https://host.example.test\\@other.example.test/smuggled"),
    ("beyond ASCII", b"https://h\xc3\xb6st.example.test/smuggled"),
    ("a fragment", b"https://host.example.test/#smuggled"),
)
def test_an_absolute_target_that_is_not_what_host_says_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(b"GET %b HTTP/1.1\r\n%b\r\n" % (attack, HOST_LINE) + SMUGGLED, 400)


def test_an_absolute_target_does_not_stand_for_a_missing_host(wire: Wire) -> None:
    wire.refuses(b"GET https://host.example.test/ HTTP/1.1\r\n\r\n" + SMUGGLED, 400)


def test_http_1_0_without_a_host_is_refused(wire: Wire) -> None:
    wire.refuses(b"GET / HTTP/1.0\r\n\r\n" + SMUGGLED, 400)


@pytest.mark.parametrize("name", [OTHER, "not-listed.example.test", "127.0.0.1", "[::1]", "host", "example.test"])
def test_a_host_that_is_not_the_certificates_is_refused(wire: Wire, name: str) -> None:
    wire.first()
    with wire.client() as client:
        client.send(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert client.answer().status == 421
    wire.victim()
    assert wire.upstream.targets() == [b"/first", b"/victim"]


@pytest.mark.parametrize(
    "name",
    [HOST, HOST.upper(), "Host.Example.Test", NEIGHBOUR, f"{HOST}:443", f"{HOST}:8443", f"{HOST}."],
)
def test_host_is_forwarded_as_written(wire: Wire, name: str) -> None:
    with wire.client() as client:
        client.send(f"GET / HTTP/1.1\r\nHost:  {name}\t\r\n\r\n".encode())
        assert client.final().status == 200
    (seen,) = wire.upstream.requests()
    assert seen.value(b"Host") == name.encode()
    assert seen.value(b"X-Forwarded-Host") == name.encode()


@pytest.mark.parametrize("name", [HOST.upper(), "hOsT.exAmple.TEST"])
def test_the_case_of_sni_is_of_no_account(wire: Wire, name: str) -> None:
    wire.context.check_hostname = False  # it would compare by case
    try:
        with wire.client(name) as client:
            client.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            assert client.final().status == 200
    finally:
        wire.context.check_hostname = True


def test_hosts_on_one_connection_do_not_mix(wire: Wire) -> None:
    with wire.client() as client:
        for name in (HOST, NEIGHBOUR, OTHER):
            client.send(f"GET /{name} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert [client.final().status for _ in range(3)] == [200, 200, 421]
    assert [(one.target, one.value(b"Host")) for one in wire.upstream.requests()] == [
        (f"/{name}".encode(), name.encode()) for name in (HOST, NEIGHBOUR)
    ]
