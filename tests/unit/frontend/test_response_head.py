"""How the body of a response is framed, and whether the connection lasts."""

from dataclasses import replace

import pytest

from proxyd.core.body_length import CHUNKED, UNTIL_CLOSE
from proxyd.frontend.head_reader import UNREADABLE
from proxyd.frontend.response_head import response_head


@pytest.mark.parametrize(
    ("method", "version", "status", "body", "framing", "in_chunks", "keeps"),
    [
        (b"GET", 11, 200, 5, b"Content-Length: 5", False, True),
        (b"GET", 11, 200, 0, b"Content-Length: 0", False, True),
        (b"GET", 11, 200, CHUNKED, b"Transfer-Encoding: chunked", True, True),
        (b"GET", 11, 200, UNTIL_CLOSE, b"Transfer-Encoding: chunked", True, True),
        (b"GET", 10, 200, 5, b"Content-Length: 5\r\nConnection: keep-alive", False, True),
        (b"GET", 10, 200, CHUNKED, b"Connection: close", False, False),
        (b"HEAD", 11, 200, 5, b"Content-Length: 5", False, True),
        (b"HEAD", 11, 200, CHUNKED, b"", False, True),
        (b"GET", 11, 204, 0, b"", False, True),
        (b"GET", 11, 304, UNTIL_CLOSE, b"", False, True),
    ],
)
def test_framing(
    method: bytes, version: int, status: int, body: int, framing: bytes, in_chunks: bool, keeps: bool
) -> None:
    request = replace(UNREADABLE, method=method, version=version)
    found = response_head(request, status, b"X", b"\r\nA: b", body, keeps=True)
    lines = b"\r\n" + framing if framing else b""
    assert found == (b"HTTP/1.1 %d X\r\nA: b%b\r\n\r\n" % (status, lines), in_chunks, keeps)


def test_a_connection_that_ends_says_so() -> None:
    found = response_head(UNREADABLE, 400, b"X", b"", 0, keeps=False)
    assert found == (b"HTTP/1.1 400 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False, False)
