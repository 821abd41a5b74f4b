"""Each target is given any bytes, and fails when something does not hold that must hold for all.

`corpus/NAME` has one input a line, in base64: what a long run found to be worth keeping (`scripts/fuzz`).
"""

import base64
import json
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from proxyd.config.example import example
from tests.fuzz import ca, files, readers
from tests.support.certs import make_pem

_CORPUS = Path(__file__).parent / "corpus"


class Target(NamedTuple):
    """`samples` gives inputs to begin with."""

    check: Callable[[bytes], None]
    samples: Callable[[], Iterable[bytes]]


def kept(name: str) -> list[bytes]:
    """Return the corpus of a target."""
    file = _CORPUS / name
    return [base64.b64decode(line) for line in file.read_text().split()] if file.exists() else []


def keep(name: str, inputs: Iterable[bytes]) -> None:
    """Make these the corpus of a target."""
    _CORPUS.mkdir(exist_ok=True)
    lines = sorted({base64.b64encode(one).decode() for one in inputs})
    (_CORPUS / name).write_text("".join(f"{line}\n" for line in lines))


def _hellos() -> Iterable[bytes]:
    for name in ("a.example", None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.set_alpn_protocols(["h2", "http/1.1"])
        out = ssl.MemoryBIO()
        try:
            context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
        except ssl.SSLWantReadError:
            yield out.read()


def _proxy_headers() -> Iterable[bytes]:
    yield b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
    yield b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\nGET"
    yield b"PROXY UNKNOWN\r\n"
    yield b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"
    yield b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


def _requests() -> Iterable[bytes]:
    host = b" / HTTP/1.1\r\nHost: a.example\r\n"
    yield b"GET" + host + b"Accept: */*\r\nCookie: a=b\r\n\r\nGET" + host + b"Accept: */*\r\nCookie: a=c\r\n\r\n"
    yield b"POST" + host + b"Content-Length: 5\r\n\r\nhelloGET" + host + b"X-Forwarded-For: 1\r\nX_Y.z: 1\r\n\r\n"
    yield b"POST" + host + b"Transfer-Encoding: chunked\r\nTE: trailers\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
    yield b"GET" + host + b"Connection: Upgrade, X\r\nUpgrade: websocket\r\nX: y\r\n\r\n"
    yield b"GET http://a.example/ HTTP/1.0\r\nHost: a.example:443\r\nConnection: keep-alive\r\n\r\n"


def _responses() -> Iterable[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: now\r\nKeep-Alive: timeout=5\r\n\r\nhello"
    yield b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
    yield b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    yield b"HTTP/1.0 404 Not Found\r\nConnection: close, X\r\nX: y\r\n\r\n"


def _configs() -> Iterable[bytes]:
    yield b"hosts:\n  a.example: 8080\n"
    yield example().encode()
    yield example().replace("# ", "").encode()
    host = b"  a.example: {<<: *a, upstream: [http://b:1, 'unix:/x']}\n  '*.b.example': 1\n"
    yield b"x-a: &a {max_body: 1MiB}\nhosts:\n" + host


def _files() -> Iterable[bytes]:
    pem = make_pem("a.example")
    document = {
        "issuer": "ca", "host": "a.example", "names": ["a.example"], "key_kind": "p256", "url": "https://ca.example/1",
        "account": "https://ca.example/2", "placed_at": "2027-01-01T00:00:00+00:00", "key": pem.decode(),
    }  # fmt: skip
    yield b"\0" + pem
    yield b"\1" + pem
    yield b"\2" + json.dumps({"orders account": "2027-01-01T03:00:00+00:00", "limits": {"orders": {}}}).encode()
    yield b"\3" + json.dumps(document).encode()
    yield b"\4" + make_pem("a.example", rsa_key=True)
    yield b"\5SQLite format 3\0"


def _answers() -> Iterable[bytes]:
    yield b"\0".join(ca.SAMPLES)
    for one in ca.SAMPLES:
        yield b"\0\0\0" + one


TARGETS: Mapping[str, Target] = {
    "hello": Target(readers.hello, _hellos),
    "proxy-header": Target(readers.proxy_header, _proxy_headers),
    "requests": Target(readers.requests, _requests),
    "responses": Target(readers.responses, _responses),
    "config": Target(files.config, _configs),
    "cache": Target(files.cache, _files),
    "ca": Target(ca.answers, _answers),
}
