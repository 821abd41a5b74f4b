"""What is measured."""

from dataclasses import dataclass
from typing import NamedTuple

from bench.h2load import BROWSER, REQUESTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A question of the load generator. `count`: so many requests of each connection, not so many seconds.

    `mebibytes`: what one request moves, where that is what matters. `twins`: whether a log makes a difference.
    `mode` h2load: that program is the generator; `lines` and `paths` are what it sends.
    """

    title: str
    mode: str
    connections: int = 32
    count: int = 0
    mebibytes: int = 0
    twins: bool = True
    lines: tuple[str, ...] = ()
    paths: int = 1


class Figures(NamedTuple):
    """One round of one server: seconds of processor time a request, requests a second, milliseconds."""

    cpu: float
    rate: float
    p50: float
    p99: float
    errors: int
    tls: str


MEASURES = {
    "keepalive": Measure(title="Keep-alive, 1 KiB, 32 connections", mode="keepalive"),
    "browser": Measure(
        title="Keep-alive, 1 KiB, 32 connections, 13 browser header lines that differ each time", mode="browser"
    ),
    "connect": Measure(title="A new TLS connection for each request, 16 at a time", mode="connect", connections=16),
    "post": Measure(title="POST of 10 KiB, 32 connections", mode="post"),
    "websocket": Measure(title="WebSocket, 1 KiB there and back, 32 connections", mode="websocket", twins=False),
    "download": Measure(
        title="100 MiB down, one connection", mode="download", connections=1, count=10, mebibytes=100, twins=False
    ),
    "upload": Measure(
        title="100 MiB up, one connection", mode="upload", connections=1, count=10, mebibytes=100, twins=False
    ),
    "h2": Measure(title="HTTP/2, 1 KiB, 16 connections with 8 streams each", mode="h2", connections=16),
    "h2-browser": Measure(
        title="HTTP/2, 1 KiB, 16 connections with 8 streams each, 13 browser lines, of which three are new each time",
        mode="h2-browser",
        connections=16,
    ),
    "h2-page": Measure(
        title="HTTP/2, 1 KiB, 16 connections with 8 streams each, 13 browser lines, of them only the path is new",
        mode="h2-page",
        connections=16,
    ),
    "h2load": Measure(title="h2load -c16 -m8, 1 KiB, one path", mode="h2load"),
    "h2load-page": Measure(
        title="h2load -c16 -m8, 1 KiB, one path, 12 browser lines", mode="h2load", lines=BROWSER, twins=False
    ),
    "h2load-browser": Measure(
        title="h2load -c16 -m8, 1 KiB, 12 browser lines, another path each time",
        mode="h2load",
        lines=BROWSER,
        paths=REQUESTS,
        twins=False,
    ),
    "h2-download": Measure(
        title="HTTP/2, 100 MiB down, one connection",
        mode="h2-download",
        connections=1,
        count=10,
        mebibytes=100,
        twins=False,
    ),
}
