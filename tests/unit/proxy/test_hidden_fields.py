"""What shows a request or a response shows no cookie and no password: it may be shown in a traceback."""

from dataclasses import replace

from proxyd.core.hostname import Hostname
from proxyd.core.response_scanner import ResponseHead
from proxyd.frontend.head_reader import UNREADABLE
from proxyd.proxy.gate import Visit

FIELDS = b"\r\nAuthorization: Basic c2VjcmV0\r\nSet-Cookie: c2VjcmV0"


def test_no_field_of_a_request_or_a_response_is_shown() -> None:
    request = replace(UNREADABLE, kept=FIELDS)
    response = ResponseHead(
        status=200, reason=b"OK", kept=FIELDS, body=0, closes=False, idle=None, upgrade=b"", has_date=False, version=11
    )
    visit = Visit(request, Hostname("a.test"), "192.0.2.1", FIELDS, "id", lines=FIELDS)
    for one in (request, response, visit):
        assert "c2VjcmV0" not in f"{one!r} {one} {[one]}"
        assert type(one).__name__ in repr(one)
