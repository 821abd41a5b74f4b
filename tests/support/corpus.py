"""Requests to send through more than one program: what each makes of them must be the same, or there is a reason.

Each is all that its connection carries, and asks for one answer.
"""

from tests.support.wire import HOST_LINE, SMUGGLED, request

_CHUNKED = b"Transfer-Encoding: chunked"
_REST = b"\r\n" + HOST_LINE + b"\r\n"


def _methods(*names: str) -> dict[str, bytes]:
    return {f"method {name}": request(method=name.encode(), target=b"/m") for name in names}


def _targets(*targets: str) -> dict[str, bytes]:
    return {f"target {one}": request(target=one.encode()) for one in targets}


def _fields(**lines: list[bytes]) -> dict[str, bytes]:
    return {name.replace("_", " "): request(*of_it, target=b"/f") for name, of_it in lines.items()}


def _chunks(body: bytes, *lines: bytes, method: bytes = b"POST") -> bytes:
    return request(_CHUNKED, *lines, method=method, target=b"/c", body=body)


def _length(body: bytes, *lines: bytes, method: bytes = b"POST") -> bytes:
    return request(*lines, b"Content-Length: %d" % len(body), method=method, target=b"/l", body=body)


#: Well-formed, ordinary and not.
REQUESTS = {
    **_methods("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "MKCOL", "REPORT", "PURGE"),
    **_methods("M-SEARCH", "QUERY", "VERSION-CONTROL", "A_1", "X" * 32),
    **_targets("/", "/?", "/??a=b?c", "//", "//evil.test/x", "/a//b///c", "/./a/.", "/a/../b", "/a/b/..", "/a/..b/.c"),
    **_targets("/../x", "/a/../../b", "/%2e%2e/%2E", "/%61%7e%C3%A9", "/%2f%5C", "/%00", "/%0d%0aX:%20y", "/%zz%"),
    **_targets("/a;b=c;d", "/a\\b", "/<>\"{}|^`'", "/*", "/a:b@c", "/http://other.test/", "/x?q=%20+%2B&r=http://a/b?"),
    **_targets("/" + "x" * 8000, "/?" + "y" * 4000, "/é€?ü"),
    "target beyond UTF-8": request(target=b"/\x80\xff\xc3?\xe9"),
    "target *": request(method=b"OPTIONS", target=b"*"),
    "absolute": request(target=b"https://host.example.test/a//b?c"),
    "absolute without a path": request(target=b"https://host.example.test"),
    "absolute with a query only": request(target=b"https://host.example.test?q"),
    "absolute in upper case": request(target=b"HTTPS://host.example.test/A"),
    "absolute of http": request(target=b"http://host.example.test/x?"),
    "Host with a port": b"GET / HTTP/1.1\r\nHost: host.example.test:8443\r\n\r\n",
    "Host in upper case": b"GET / HTTP/1.1\r\nHost: HOST.Example.test\r\n\r\n",
    "Host with its final dot": b"GET / HTTP/1.1\r\nHost: host.example.test.\r\n\r\n",
    "Host last": b"GET / HTTP/1.1\r\nX: y\r\nhost:host.example.test \r\n\r\n",
    "an empty line before it": b"\r\n" + request(),
    **_fields(
        browser=[
            b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            b"Accept-Language: de,en-US;q=0.7,en;q=0.3",
            b"Accept-Encoding: gzip, deflate, br, zstd",
            b"Referer: https://host.example.test/a?b",
            b"Cookie: a=b; c=d; e=",
            b"Upgrade-Insecure-Requests: 1",
            b"Sec-Fetch-Dest: document",
            b"Priority: u=0, i",
        ],
        empty_values=[b"X-A:", b"X-B: ", b"X-C:\t \t"],
        white_space=[b"X-A:y", b"X-B:   y", b"X-C: \t y \t ", b"X-D: a  b\tc"],
        obs_text=[b"X-Latin: caf\xe9", b"X-Bytes: \x80\xff\xfe\xc3\x28", "X-Utf8: é€😀".encode()],
        separators=[b"X: (),/:;<=>?@[\\]{}\"'`", b'X-Q: "a\\"b, c" (comment)'],
        names=[b"x-lower: 1", b"X-UPPER: 2", b"x: 3", b"X-1: 4", b"1: 5", b"x-Mixed-CASE: 6"],
        odd_names=[b"X!#$%&'*+-^`|~: 1", b"x.dot: 2", b"x_under: 3", b"__: 4", b"-: 5"],
        repeated=[b"X: 1", b"Y: 2", b"X: 3", b"x: 4", b"X: 1"],
        lists=[b"Accept: a/b", b"Accept: c/d", b"Via: 1.1 a", b"Via: 1.0 b", b"Cache-Control: no-cache"],
        cookies=[b"Cookie: a=b", b"cookie: c=d; e=\xe4", b"Cookie: " + b"f" * 4000],
        long_value=[b"X: " + b"y" * 7500],
        many=[b"X-%d: %d" % (number, number) for number in range(90)],
        range=[b"Range: bytes=2-4", b'If-Range: "x"'],
        ranges=[b"Range: bytes=0-0,-1,5-"],
        conditions=[
            b'If-None-Match: "a", W/"b", *',
            b"If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT",
            b'If-Match: "c"',
            b"If-Unmodified-Since: never",
        ],
        authorization=[b"Authorization: Basic YTpi"],
        proxies=[b"Max-Forwards: 5", b"Via: 1.1 x", b"Pragma: no-cache", b"Date: Sat, 29 Oct 1994 19:43:31 GMT"],
        origin=[b"Origin: null", b"Access-Control-Request-Method: PUT", b"Access-Control-Request-Headers: x, y"],
        names_twice_that_are_for_once=[b"User-Agent: a", b"User-Agent: b", b"Max-Forwards: 1", b"Max-Forwards: 2"],
        two_types=[b"Content-Type: a/b", b"Content-Type: c/d"],
        keep_alive=[b"Connection: keep-alive", b"Keep-Alive: timeout=5"],
        close=[b"Connection: close"],
        nominated=[b"Connection: X-Mine, keep-alive", b"X-Mine: 1", b"X-Kept: 2"],
        nominated_end_to_end=[b"Connection: Cookie", b"Cookie: a=b"],
        proxy_fields=[b"Proxy-Connection: keep-alive", b"Proxy-Authorization: Basic YTpi", b"X: y"],
        te=[b"TE: gzip", b"Connection: TE"],
        a_wish_that_Connection_does_not_name=[b"Upgrade: websocket"],
        http2_settings=[b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"],
        forged=[b"X-Forwarded-For: 6.6.6.6", b"X-Real-IP: 6.6.6.6", b"Forwarded: for=6.6.6.6", b"X: y"],
        forged_by_an_alias=[b"X_Forwarded_For: 6.6.6.6", b"X_Forwarded_Proto: http", b"X: y"],
        expect_without_a_body=[b"Expect: 100-continue"],
    ),
    "no body": _length(b""),
    "body": _length(b"hello", b"Content-Type: text/plain; charset=utf-8"),
    "body of all bytes": _length(bytes(range(256)) * 40),
    "body that looks like a request": _length(SMUGGLED),
    "coded body": _length(b"\x1f\x8b\x08\x00not gzip", b"Content-Encoding: gzip"),
    "large body": _length(b"x" * 300_000, method=b"PUT"),
    "body of GET": _length(b"hello", method=b"GET"),
    "body of HEAD": _length(b"hello", method=b"HEAD"),
    "body of DELETE": _length(b"hello", method=b"DELETE"),
    "length with zeros before it": request(b"Content-Length: 0005", method=b"POST", body=b"hello"),
    "length in white space": request(b"CONTENT-LENGTH: \t 5 \t ", method=b"POST", body=b"hello"),
    "chunks": _chunks(b"5\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n0\r\n\r\n"),
    "no chunk": _chunks(b"0\r\n\r\n"),
    "chunks of GET": _chunks(b"5\r\nhello\r\n0\r\n\r\n", method=b"GET"),
    "chunk sizes in upper case": _chunks(b"1A\r\nabcdefghijklmnopqrstuvwxyz\r\nA\r\n0123456789\r\n0\r\n\r\n"),
    "chunk sizes with zeros": _chunks(b"0005\r\nhello\r\n000\r\n\r\n"),
    "chunk extensions": _chunks(b'5;a=b;c\r\nhello\r\n1;d="e;f"\r\n!\r\n0;last\r\n\r\n'),
    "chunks that look like a request": _chunks(b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
    "many chunks": _chunks(b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n"),
    "trailers": _chunks(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-other:2\r\n\r\n", b"Trailer: X-Sum"),
    "Chunked": request(b"transfer-encoding:Chunked", method=b"POST", body=b"1\r\nx\r\n0\r\n\r\n"),
    "chunked in tabs": request(b"TRANSFER-ENCODING: \t chunked \t ", method=b"POST", body=b"1\r\nx\r\n0\r\n\r\n"),
    "expect": _length(b"ok", b"Expect: 100-continue"),
    "expect in chunks": _chunks(b"2\r\nok\r\n0\r\n\r\n", b"expect: 100-Continue"),
    "1.0": b"GET /old HTTP/1.0\r\n" + HOST_LINE + b"\r\n",
    "1.0 that keeps": b"GET /old HTTP/1.0\r\n" + HOST_LINE + b"Connection: keep-alive\r\n\r\n",
    "1.0 with a body": b"POST /old HTTP/1.0\r\n" + HOST_LINE + b"Content-Length: 5\r\n\r\nhello",
}


def _lines(**lines: bytes) -> dict[str, bytes]:
    return {name.replace("_", " "): line + _REST for name, line in lines.items()}


def _heads(**fields: bytes) -> dict[str, bytes]:
    head = b"GET /smuggled HTTP/1.1\r\n" + HOST_LINE
    return {name.replace("_", " "): head + of_it + b"\r\n\r\n" for name, of_it in fields.items()}


def _framings(**fields: bytes) -> dict[str, bytes]:
    head = b"POST /smuggled HTTP/1.1\r\n" + HOST_LINE
    return {name.replace("_", " "): head + of_it + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n" for name, of_it in fields.items()}


def _bodies(**bodies: bytes) -> dict[str, bytes]:
    return {name.replace("_", " "): _chunks(body) for name, body in bodies.items()}


#: Malformed, or not for a reverse proxy.
MALFORMED = {
    **_lines(
        two_spaces=b"GET  / HTTP/1.1",
        tab=b"GET\t/ HTTP/1.1",
        space_in_the_target=b"GET /a b HTTP/1.1",
        space_after_the_line=b"GET / HTTP/1.1 ",
        no_target=b"GET HTTP/1.1",
        relative_target=b"GET index.html HTTP/1.1",
        query_only=b"GET ?x HTTP/1.1",
        fragment=b"GET /#f HTTP/1.1",
        asterisk_of_GET=b"GET * HTTP/1.1",
        authority_of_GET=b"GET host.example.test:443 HTTP/1.1",
        NUL_in_the_target=b"GET /\x00 HTTP/1.1",
        control_character_in_the_target=b"GET /\x01 HTTP/1.1",
        DEL_in_the_target=b"GET /\x7f HTTP/1.1",
        bare_CR_in_the_target=b"GET /\rx HTTP/1.1",
        method_in_lower_case=b"get / HTTP/1.1",
        separator_in_the_method=b"GE(T / HTTP/1.1",
        version_in_lower_case=b"GET / http/1.1",
        version_1_2=b"GET / HTTP/1.2",
        version_2_0=b"GET / HTTP/2.0",
        version_of_one_digit=b"GET / HTTP/1",
        version_and_more=b"GET / HTTP/1.1x",
        another_protocol=b"GET / HTTQ/1.1",
        CONNECT=b"CONNECT host.example.test:443 HTTP/1.1",
        TRACE=b"TRACE / HTTP/1.1",
        absolute_for_another_host=b"GET https://evil.test/ HTTP/1.1",
        absolute_with_user_information=b"GET https://a@host.example.test/ HTTP/1.1",
        another_scheme=b"GET ftp://host.example.test/ HTTP/1.1",
    ),
    "HTTP 0.9": b"GET /\r\n\r\n",
    "LF ends the request line": b"GET / HTTP/1.1\n" + HOST_LINE + b"\r\n",
    "LF ends every line": b"GET / HTTP/1.1\nHost: host.example.test\n\n",
    "LF before the request line": b"\nGET / HTTP/1.1" + _REST,
    "space before the request line": b" GET / HTTP/1.1" + _REST,
    "preface of HTTP 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "Host of nobody here": b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    "Host with a path": b"GET / HTTP/1.1\r\nHost: host.example.test/x\r\n\r\n",
    "Host with a space": b"GET / HTTP/1.1\r\nHost: host.example.test x\r\n\r\n",
    "Host with user information": b"GET / HTTP/1.1\r\nHost: a@host.example.test\r\n\r\n",
    "Host with a port that is none": b"GET / HTTP/1.1\r\nHost: host.example.test:x\r\n\r\n",
    "Host in a list": b"GET / HTTP/1.1\r\nHost: host.example.test, evil.test\r\n\r\n",
    "no Host in 1.0": b"GET / HTTP/1.0\r\n\r\n",
    **_heads(
        two_Hosts=b"Host: host.example.test",
        two_Hosts_that_differ=b"Host: evil.test",
        space_before_the_colon=b"X : y",
        tab_before_the_colon=b"X\t: y",
        space_before_the_name=b" X: y",
        space_in_the_name=b"X Y: z",
        no_name=b": y",
        no_colon=b"X",
        folded_line=b"X: y\r\n z",
        separator_in_the_name=b"X(Y: z",
        letter_beyond_ASCII_in_the_name=b"X\xe9: z",
        NUL_in_the_name=b"X\x00Y: z",
        NUL_in_the_value=b"X: y\x00z",
        bare_CR_in_the_value=b"X: y\rZ: z",
        bare_LF_in_the_value=b"X: y\nZ: z",
        bare_LFs_end_the_head=b"X: y\n\nGET /more HTTP/1.1",
        control_character_in_the_value=b"X: y\x01z",
        DEL_in_the_value=b"X: y\x7fz",
        an_alias_of_framing=b"Content_Length: 5",
        another_expectation=b"Expect: 200-ok",
        a_head_too_long=b"X: " + b"y" * 70_000,
    ),
    **_framings(
        lengths_that_differ=b"Content-Length: 5\r\nContent-Length: 6",
        lengths_alike=b"Content-Length: 5\r\nContent-Length: 5",
        lengths_in_a_list=b"Content-Length: 5, 5",
        length_with_a_sign=b"Content-Length: +5",
        negative_length=b"Content-Length: -5",
        hexadecimal_length=b"Content-Length: 0x5",
        length_and_a_letter=b"Content-Length: 5b",
        empty_length=b"Content-Length:",
        length_of_more_than_64_bits=b"Content-Length: 18446744073709551621",
        space_before_the_colon_of_a_length=b"Content-Length : 5",
        length_and_coding=b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        coding_and_length=b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        unknown_coding=b"Transfer-Encoding: x",
        gzip_before_chunked=b"Transfer-Encoding: gzip, chunked",
        chunked_twice=b"Transfer-Encoding: chunked, chunked",
        chunked_in_two_lines=b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        identity=b"Transfer-Encoding: identity\r\nContent-Length: 5",
        empty_coding=b"Transfer-Encoding:",
        chunked_after_a_vertical_tab=b"Transfer-Encoding: \x0bchunked",
        chunked_in_quotes=b'Transfer-Encoding: "chunked"',
        chunked_with_a_parameter=b"Transfer-Encoding: chunked;x=y",
        folded_coding=b"Transfer-Encoding:\r\n chunked",
    ),
    "chunked in 1.0": _chunks(b"5\r\nhello\r\n0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    **_bodies(
        size_that_is_no_number=b"g\r\nhello\r\n0\r\n\r\n",
        size_with_a_sign=b"+5\r\nhello\r\n0\r\n\r\n",
        size_with_0x=b"0x5\r\nhello\r\n0\r\n\r\n",
        no_size=b"\r\nhello\r\n0\r\n\r\n",
        space_before_the_size=b" 5\r\nhello\r\n0\r\n\r\n",
        space_after_the_size=b"5 \r\nhello\r\n0\r\n\r\n",
        size_of_more_than_64_bits=b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        LF_ends_the_size=b"5\nhello\r\n0\r\n\r\n",
        LF_ends_the_data=b"5\r\nhello\n0\r\n\r\n",
        more_data_than_the_size=b"5\r\nhello world\r\n0\r\n\r\n",
        nothing_ends_the_data=b"5\r\nhello0\r\n\r\n",
        LF_in_an_extension=b"5;a\nhello\r\n0\r\n\r\n",
        NUL_in_an_extension=b"5;a\x00\r\nhello\r\n0\r\n\r\n",
        LF_ends_the_last_size=b"5\r\nhello\r\n0\n\r\n",
        trailer_with_a_space_before_the_colon=b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        trailer_without_a_colon=b"5\r\nhello\r\n0\r\nX\r\n\r\n",
        Content_Length_after_the_body=b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    ),
}
