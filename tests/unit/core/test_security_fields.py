"""What is added to responses: each once, and never over what the upstream says."""

import pytest

from proxyd.core.security_fields import SecurityFields
from proxyd.core.strict_transport import ramp, ramp_lines, strict_transport_line

_STRICT = b"\r\nStrict-Transport-Security: max-age=5"
_NOSNIFF = b"\r\nX-Content-Type-Options: nosniff"
_REFERRER = b"\r\nReferrer-Policy: strict-origin-when-cross-origin"
_FRAMES = b"\r\nX-Frame-Options: SAMEORIGIN"


def test_ours_is_the_only_word_about_transport() -> None:
    fields = SecurityFields(strict=lambda: _STRICT)
    written = b"\r\nServer: a\r\nstrict-transport-security: max-age=0\r\nSTRICT-Transport-Security:x\r\nX: 1"
    assert fields.applied(written, is_secure=True) == b"\r\nServer: a\r\nX: 1" + _STRICT
    assert fields.applied(b"", is_secure=True) == _STRICT


@pytest.mark.parametrize("ours", [_STRICT, b""])
def test_over_http_nobody_says_anything_of_it(ours: bytes) -> None:
    fields = SecurityFields(strict=lambda: ours)
    written = b"\r\nServer: a\r\nstrict-transport-security: max-age=9\r\nX: 1"
    assert fields.applied(written, is_secure=False) == b"\r\nServer: a\r\nX: 1"


def test_as_long_as_there_is_nothing_to_say_the_upstream_says_it() -> None:
    fields = SecurityFields(strict=lambda: b"")
    written = b"\r\nStrict-Transport-Security: max-age=9"
    assert fields.applied(written, is_secure=True) == written


@pytest.mark.parametrize(
    ("written", "added"),
    [
        (b"", _NOSNIFF + _REFERRER + _FRAMES),
        (b"\r\nx-frame-options: DENY", _NOSNIFF + _REFERRER),
        (b"\r\nX-Content-Type-Options:nosniff\r\nReferrer-Policy: no-referrer", _FRAMES),
        (b"\r\nContent-Security-Policy: default-src 'self'; Frame-Ancestors 'none'", _NOSNIFF + _REFERRER),
        (b"\r\nContent-Security-Policy: default-src 'self', frame-ancestors *", _NOSNIFF + _REFERRER),
        (b"\r\nContent-Security-Policy: default-src frame-ancestors", _NOSNIFF + _REFERRER + _FRAMES),
        (b"\r\nContent-Security-Policy-Report-Only: frame-ancestors *", _NOSNIFF + _REFERRER + _FRAMES),
        (b"\r\nX-Not-X-Frame-Options: a", _NOSNIFF + _REFERRER + _FRAMES),
    ],
)
def test_what_the_upstream_says_holds(written: bytes, added: bytes) -> None:
    fields = SecurityFields(protects=True)
    assert fields.applied(written, is_secure=True) == written + added
    assert fields.applied(written, is_secure=False) == written + added


def test_the_line() -> None:
    assert strict_transport_line(7, include_subdomains=False) == b"\r\nStrict-Transport-Security: max-age=7"
    whole = b"\r\nStrict-Transport-Security: max-age=0; includeSubDomains; preload"
    assert strict_transport_line(0, include_subdomains=True, preload=True) == whole


def test_the_ramp() -> None:
    assert [ramp(count) for count in range(6)] == [None, 86_400, 5_184_000, 31_536_000, 31_536_000, 31_536_000]
    first, second, *_, last = ramp_lines(include_subdomains=True)
    assert (first, second.endswith(b"max-age=86400; includeSubDomains")) == (b"", True)
    assert last.endswith(b"max-age=31536000; includeSubDomains")
