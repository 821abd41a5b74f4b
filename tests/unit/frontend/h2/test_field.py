import pytest

from proxyd.core.field_names import DROP, MALFORMED, PASS
from proxyd.core.request_scanner import HOST, LENGTH, TE, USER_AGENT
from proxyd.frontend.h2.field import AUTHORITY, COOKIE, METHOD, PATH, PROTOCOL, SCHEME, STATIC_FIELDS, field_of


@pytest.mark.parametrize(
    ("name", "value", "action"),
    [
        (b"accept", b"*/*", PASS),
        (b"x-a", b"caf\xc3\xa9", PASS),
        (b"x-a", b"", PASS),
        (b"user-agent", b"me", USER_AGENT),
        (b"host", b"a", HOST),
        (b"content-length", b"1", LENGTH),
        (b"cookie", b"a=b", COOKIE),
        (b":method", b"GET", METHOD),
        (b":scheme", b"https", SCHEME),
        (b":authority", b"a", AUTHORITY),
        (b":path", b"/", PATH),
        (b":protocol", b"websocket", PROTOCOL),
        (b"te", b"trailers", TE),
        (b"te", b"Trailers", TE),
        (b"x-real-ip", b"1.2.3.4", DROP),
        (b"x_real_ip", b"1.2.3.4", DROP),
        (b"client-cert", b"x", DROP),
        (b"proxy-authorization", b"x", DROP),
        (b"http2-settings", b"x", DROP),
        (b"te", b"gzip", MALFORMED),
        (b"Accept", b"*/*", MALFORMED),
        (b"content_length", b"1", MALFORMED),
        (b"transfer_encoding", b"chunked", MALFORMED),
        (b"transfer-encoding", b"chunked", MALFORMED),
        (b"connection", b"close", MALFORMED),
        (b"keep-alive", b"x", MALFORMED),
        (b"proxy-connection", b"x", MALFORMED),
        (b"upgrade", b"x", MALFORMED),
        (b":status", b"200", MALFORMED),
        (b":Path", b"/", MALFORMED),
        (b":", b"", MALFORMED),
        (b"", b"x", MALFORMED),
        (b"a b", b"x", MALFORMED),
        (b"a:b", b"x", MALFORMED),
        (b"a\r\nb", b"x", MALFORMED),
        (b"a", b"x\ny", MALFORMED),
        (b"a", b"x\ry", MALFORMED),
        (b"a", b"x\0y", MALFORMED),
        (b"a", b" x", MALFORMED),
        (b"a", b"x\t", MALFORMED),
        (b":path", b"/\n", MALFORMED),
        (b"cookie", b"a\r\nb", MALFORMED),
    ],
)
def test_what_it_means(name: bytes, value: bytes, action: int) -> None:
    field = field_of(name, value)
    assert field.action == action
    assert field.size == len(name) + len(value) + 32
    passes = action in (PASS, USER_AGENT)
    assert field.line == (b"\r\n%b: %b" % (name, value) if passes else b"")


def test_the_static_table_begins_with_one() -> None:
    assert len(STATIC_FIELDS) == 62
    assert STATIC_FIELDS[2][:3] == (METHOD, b":method", b"GET")
