"""Responses of an upstream to send through more than one program: what a client gets must be the same, or there is a
reason.
"""

from typing import NamedTuple


class Reply(NamedTuple):
    """What an upstream says to a request, in parts; `end`: "close" or "reset" afterwards."""

    parts: tuple[bytes, ...]
    method: bytes = b"GET"
    end: str = ""


_OK = b"HTTP/1.1 200 OK\r\n"
_TWO = b"Content-Length: 2\r\n\r\nok"


def _answers(**lines: list[bytes]) -> dict[str, Reply]:
    return {
        name.replace("_", " "): Reply((_OK + b"".join(line + b"\r\n" for line in of_it) + _TWO,))
        for name, of_it in lines.items()
    }


def _statuses(*statuses: str) -> dict[str, Reply]:
    return {f"status {one}": Reply((b"HTTP/1.1 %b\r\n%b" % (one.encode(), _TWO),)) for one in statuses}


def _replies(**data: bytes) -> dict[str, Reply]:
    return {name.replace("_", " "): Reply((of_it,)) for name, of_it in data.items()}


def _cut(**parts: tuple[bytes, ...]) -> dict[str, Reply]:
    return {name.replace("_", " "): Reply(of_it, end="close") for name, of_it in parts.items()}


_LENGTH = _OK + b"Content-Length: 10\r\n\r\n"
_IN_CHUNKS = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_LAST = b"0\r\n\r\n"

#: Responses, ordinary and not; those that are cut end after what stands there.
REPLIES = {
    **_statuses("200 OK", "200 ", "200 Sure, why not?", "200 caf\u00e9", "201 Created", "299 Odd", "404 Not Found"),
    **_statuses("418 I'm a teapot", "429 Too Many Requests", "500 No", "503 Later", "599 Odd", "999 Odder"),
    **_answers(
        ordinary=[b"Content-Type: text/html; charset=utf-8", b"Cache-Control: no-store", b"X: y"],
        type_without_charset=[b"Content-Type: application/json"],
        type_in_upper_case=[b"Content-Type: TEXT/HTML;Charset=UTF-8"],
        no_type=[],
        cookies=[b"Set-Cookie: a=b; Path=/", b"SET-COOKIE: c=d", b"Set-Cookie: e=f; Secure; HttpOnly"],
        obs_text=[b"X-Latin: caf\xe9 \xff\xfe", "X-Utf8: \u00e9\u20ac".encode()],
        empty_values=[b"X-A:", b"X-B: "],
        white_space=[b"X-A:y", b"X-B:   y", b"X-C: y  "],
        odd_names=[b"x-lower: 1", b"X_Under: 2", b"X.dot: 3", b"X!#$%&'*+-^`|~: 4", b"1: 5"],
        repeated=[b"X: 1", b"Vary: a", b"X: 2", b"Vary: b", b"Link: </a>", b"Link: </b>"],
        long_value=[b"X: " + b"y" * 15_000],
        many=[b"X-%d: y" % number for number in range(90)],
        dated=[b"Date: Tue, 15 Nov 1994 08:12:31 GMT", b"Server: someone/1.0", b"Via: 1.1 x", b"X-Powered-By: y"],
        cached=[b"Age: 5", b"Expires: 0", b'ETag: W/"x"', b"Last-Modified: Tue, 15 Nov 1994 08:12:31 GMT"],
        coded=[b"Content-Encoding: gzip", b"Content-Language: de", b"Content-Disposition: attachment"],
        policies=[b"Strict-Transport-Security: max-age=1", b"Content-Security-Policy: default-src 'self'; x"],
        hop_by_hop=[b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"X: y"],
        close=[b"Connection: close", b"X: y"],
        nominated=[b"Connection: X-Mine", b"X-Mine: 1", b"X: y"],
        proxy_fields=[b"Proxy-Connection: x", b"Proxy-Authenticate: Basic", b"X: y"],
        upgrade=[b"Upgrade: h2c", b"X: y"],
        refresh=[b"Refresh: 5; url=/x", b"Location: /elsewhere"],
    ),
    **_replies(
        moved=b"HTTP/1.1 301 Moved\r\nLocation: http://host.example.test/x?y#z\r\n" + _TWO,
        moved_near=b"HTTP/1.1 302 Found\r\nLocation: //x/../y?\r\n" + _TWO,
        unauthorized=b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nWWW-Authenticate: Y\r\n' + _TWO,
        partial=b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 2-3/10\r\nAccept-Ranges: bytes\r\n" + _TWO,
        unsatisfiable=b"HTTP/1.1 416 Range\r\nContent-Range: bytes */10\r\n" + _TWO,
        not_allowed=b"HTTP/1.1 405 No\r\nAllow: GET, HEAD\r\n" + _TWO,
        no_content=b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
        no_content_of_length_0=b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: y\r\n\r\n",
        not_modified=b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
        not_modified_with_a_length=b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 9\r\n\r\n',
        no_reason_and_no_space=b"HTTP/1.1 200\r\n" + _TWO,
        empty=_OK + b"Content-Length: 0\r\n\r\n",
        all_bytes=_OK + b"Content-Length: 10240\r\n\r\n" + bytes(range(256)) * 40,
        large=_OK + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000,
        length_with_zeros=_OK + b"Content-Length: 0002\r\n\r\nok",
        chunks=_IN_CHUNKS + b"5\r\nhello\r\n6\r\n world\r\n" + _LAST,
        no_chunk=_IN_CHUNKS + _LAST,
        large_chunks=_IN_CHUNKS + b"10000\r\n%b\r\n" % (b"x" * 65_536) * 4 + _LAST,
        many_chunks=_IN_CHUNKS + b"1\r\nx\r\n" * 2000 + _LAST,
        chunk_extensions=_IN_CHUNKS + b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n',
        chunk_sizes_with_zeros=_IN_CHUNKS + b"0005\r\nhello\r\n000\r\n\r\n",
        trailers=_IN_CHUNKS + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        early_hints=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + _OK + _TWO,
        a_100_that_nobody_asked_for=b"HTTP/1.1 100 Continue\r\n\r\n" + _OK + _TWO,
        more_than_the_length=_OK + _TWO + b"and more",
    ),
    "HEAD": Reply((_OK + b"Content-Length: 1234\r\nContent-Type: a/b\r\n\r\n",), b"HEAD"),
    "HEAD without a length": Reply((_OK + b"X: y\r\n\r\n",), b"HEAD", "close"),
    "POST": Reply((_OK + _TWO,), b"POST"),
    **_cut(
        until_the_end=(_OK + b"X: y\r\n\r\nhello ", b"world"),
        of_1_0=(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",),
        of_1_0_until_the_end=(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nhello", b" world"),
        nothing=(b"",),
        half_a_head=(_OK + b"X: y\r\n", b""),
        a_length_cut=(_LENGTH + b"12345", b"6789"),
        chunks_cut_within_one=(_IN_CHUNKS + b"5\r\nhello\r\n5\r\nhel", b"l"),
        chunks_cut_between_two=(_IN_CHUNKS + b"5\r\nhello\r\n", b"5\r\nhello\r\n"),
        chunks_cut_before_the_last_line=(_IN_CHUNKS + b"5\r\nhello\r\n", b"0\r\n"),
    ),
    "a body until the end that is reset": Reply((_OK + b"\r\nhello", b""), end="reset"),
    "a length reset": Reply((_LENGTH + b"12345", b""), end="reset"),
    "a reset": Reply((b"",), end="reset"),
    **_cut(
        no_HTTP=(b"hello\r\n\r\n",),
        version_2_0=(b"HTTP/2.0 200 OK\r\n" + _TWO,),
        version_1_2=(b"HTTP/1.2 200 OK\r\n" + _TWO,),
        two_digits=(b"HTTP/1.1 20 OK\r\n" + _TWO,),
        two_spaces=(b"HTTP/1.1  200 OK\r\n" + _TWO,),
        control_character_in_the_reason=(b"HTTP/1.1 200 O\x01K\r\n" + _TWO,),
        LF_ends_the_status_line=(b"HTTP/1.1 200 OK\n" + _TWO,),
        LF_ends_a_line=(_OK + b"X: y\nZ: z\r\n" + _TWO,),
        bare_CR_in_a_value=(_OK + b"X: y\rSet-Cookie: a=b\r\n" + _TWO,),
        NUL_in_a_value=(_OK + b"X: y\x00z\r\n" + _TWO,),
        control_character_in_a_value=(_OK + b"X: y\x01z\r\n" + _TWO,),
        space_before_a_colon=(_OK + b"X : y\r\n" + _TWO,),
        no_colon=(_OK + b"X\r\n" + _TWO,),
        no_name=(_OK + b": y\r\n" + _TWO,),
        folded_line=(_OK + b"X: y\r\n z\r\n" + _TWO,),
        separator_in_a_name=(_OK + b"X(Y: z\r\n" + _TWO,),
        lengths_that_differ=(_OK + b"Content-Length: 3\r\n" + _TWO,),
        lengths_alike=(_OK + b"Content-Length: 2\r\n" + _TWO,),
        length_that_is_none=(_OK + b"Content-Length: x\r\n\r\nok",),
        negative_length=(_OK + b"Content-Length: -2\r\n\r\nok",),
        length_with_a_sign=(_OK + b"Content-Length: +2\r\n\r\nok",),
        length_and_chunks=(_OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + _LAST,),
        unknown_coding=(_OK + b"Transfer-Encoding: x\r\n\r\nok",),
        gzip_before_chunked=(_OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n" + _LAST,),
        chunks_of_1_0=(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + _LAST,),
        size_that_is_no_number=(_IN_CHUNKS + b"2\r\nok\r\n", b"g\r\nok\r\n" + _LAST),
        size_with_0x=(_IN_CHUNKS + b"2\r\nok\r\n", b"0x2\r\nok\r\n" + _LAST),
        more_data_than_a_size=(_IN_CHUNKS + b"2\r\nok\r\n", b"2\r\nokay\r\n" + _LAST),
        LF_ends_a_size=(_IN_CHUNKS + b"2\r\nok\r\n", b"2\nok\r\n" + _LAST),
        a_switch_that_nobody_asked_for=(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhi",),
    ),
}
