"""What a wire test works with: the daemon between a raw client and a recording upstream."""

import contextlib
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import wire_message
from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess
from tests.support.h2_client import H2Client
from tests.support.raw_client import RawClient
from tests.support.raw_upstream import RawUpstream
from tests.support.wire_message import Message

HOST, NEIGHBOUR, OTHER = (f"{one}.example.test" for one in ("host", "neighbour", "other"))
HOST_LINE = b"Host: host.example.test\r\n"
#: What an attacker would like to be a request of its own.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST_LINE + b"\r\n"
#: All goes through aiohttp's server.
BY_AIOHTTP = os.environ.get("FAST_PATH") == "false"
#: And it has its parser in C, which refuses some that we forward.
BY_LLHTTP = BY_AIOHTTP and not os.environ.get("AIOHTTP_NO_EXTENSIONS")
#: Seconds that the end of a connection may take after an answer that closes it.
LINGERING = 4.0
#: What is ours to write towards the upstream, whatever the client sent.
OURS = (
    b"Host",
    b"Connection",
    b"Content-Length",
    b"Transfer-Encoding",
    b"X-Forwarded-For",
    b"X-Forwarded-Proto",
    b"X-Forwarded-Host",
    b"Forwarded",
    b"X-Request-ID",
)


def request(*lines: bytes, method: bytes = b"GET", target: bytes = b"/", body: bytes = b"") -> bytes:
    """Return a request for HOST with further field lines, and a body that nobody frames."""
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"%b %b HTTP/1.1\r\n%b%b\r\n%b" % (method, target, HOST_LINE, fields, body)


def raw(text: bytes) -> bytes:
    """Return a head as it stands in a test: `HOST` means the Host line."""
    return text.replace(b"HOST\r\n", HOST_LINE)


@dataclass
class Wire:
    """The three of a test."""

    daemon: DaemonProcess
    upstream: RawUpstream
    context: ssl.SSLContext
    other_context: ssl.SSLContext
    h2_context: ssl.SSLContext
    #: What was refused: when, connections that have to end soon, and what was sent on them.
    refused: list[tuple[float, RawClient, bytes]] = field(default_factory=list)

    def client(self, name: str = HOST, *, receive_buffer: int = 0) -> RawClient:
        context = self.other_context if name == OTHER else self.context
        return RawClient(self.daemon.https_port, context, name, receive_buffer=receive_buffer)

    def h2_client(self, name: str = HOST, *, receive_buffer: int = 0, **settings: int) -> H2Client:
        raw = RawClient(self.daemon.https_port, self.h2_context, name, receive_buffer=receive_buffer)
        return H2Client(raw, name, settings)

    def get(self, target: bytes = b"/", *lines: bytes) -> Message:
        """Return the answer to an ordinary request on a connection of its own."""
        with self.client() as client:
            client.send(request(*lines, target=target))
            return client.final()

    def first(self) -> None:
        """Leave an idle connection to the upstream behind, for what comes next to be mixed up with."""
        assert self.get(b"/first").body == b"GET /first "

    def victim(self) -> None:
        """Another client, after an attack, gets its own answer."""
        assert self.get(b"/victim", b"X-Victim: 1").body == b"GET /victim "

    def refuses(self, attack: bytes, *statuses: int) -> None:
        """The client gets one answer and the end, the upstream not a byte, and the next client what it asked for."""
        self.first()
        self.is_refused(attack, *statuses)
        self.victim()
        assert self.upstream.targets() == [b"/first", b"/victim"]

    def is_refused(self, attack: bytes, *statuses: int) -> None:
        """The client gets one answer, and the end, for which nobody waits here."""
        client = self.client()
        self.refused.append((time.monotonic(), client, attack))
        client.send(attack)
        answer = client.answer()
        assert answer.status in (statuses or (400,)), answer
        assert answer.value(b"Connection").lower() == b"close", answer
        assert not client.unread

    def refused_have_ended(self, *, before: float) -> None:
        """Look at what was refused before a moment. A server may go on reading for a while, lest its answer is lost."""
        due = [one for one in self.refused if one[0] < before]
        self.refused = [one for one in self.refused if one[0] >= before]
        deadline = time.monotonic() + LINGERING
        for _, client, attack in due:
            with client:
                assert client.has_ended(max(0.1, deadline - time.monotonic())), f"open after {attack!r}"

    def cuts_off(self, attack: bytes) -> None:
        """What turns out to be malformed when a part of it is on its way never becomes a complete request.

        The client gets an error, or nothing, and the end; so does the upstream.
        """
        self.first()
        client = self.client()
        self.refused.append((time.monotonic(), client, attack))
        client.send(attack)
        data = client.some(seconds=2.0)
        assert not data or data.split(b" ")[1] in (b"400", b"413", b"431", b"502"), data
        assert data.count(b"HTTP/1.1") <= 1, data
        begun = self._only_begun()
        self.victim()
        assert self._only_begun() == begun

    def _only_begun(self) -> list[bytes]:
        """Return what connections carry besides whole harmless requests: each must end within a second."""
        begun = []
        for peer in list(self.upstream.peers):
            whole, rest = wire_message.requests(peer.received)
            assert {one.target for one in whole} <= {b"/first", b"/victim"}, whole
            if rest:
                assert peer.has_ended(), f"still open after {rest!r}"
                assert not wire_message.requests(peer.received)[0][len(whole) :]
                begun.append(rest)
        return begun

    def serves(self, sent: bytes, *targets: bytes) -> list[Message]:
        """Every request in `sent` is answered, in order; return how the upstream saw them."""
        self.first()
        with self.client() as client:
            client.send(sent)
            for target in targets:
                answer = client.final()
                assert answer.status == 200, answer
                assert answer.body.split(b" ")[1] == target
            if not client.how_it_ended:
                assert client.is_silent(0.05), client.unread
        self.victim()
        seen = self.upstream.requests()
        assert sorted(one.target for one in seen) == sorted([b"/first", *targets, b"/victim"])
        return [one for one in seen if one.target in targets]


def cases(*attacks: tuple[str, bytes]) -> "pytest.MarkDecorator":
    """Parametrise a test with named bytes."""
    names, values = zip(*attacks, strict=True)
    return pytest.mark.parametrize("attack", values, ids=names)


@contextlib.contextmanager
def running(
    directory: Path,
    host_options: dict[str, Any],
    daemon_options: dict[str, Any],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Wire]:
    """Run a daemon with these options before a recording upstream. HOST and NEIGHBOUR share a certificate.

    With FAST_PATH=false in the environment all the corpus goes through aiohttp's server.
    """
    daemon = DaemonProcess(directory)
    # All are in the cache: there is nothing to order, and no CA.
    pems = {HOST: make_pem(HOST, NEIGHBOUR), OTHER: make_pem(OTHER)}
    daemon.cache.mkdir(mode=0o700)
    for host, pem in pems.items():
        (daemon.cache / host).write_bytes(pem)
        (daemon.cache / host).chmod(0o600)
    leaves = [pem[pem.index(b"-----BEGIN CERT") :].decode() for pem in pems.values()]
    with RawUpstream() as upstream:
        options = {"upstream": upstream.port, **host_options}
        hosts: dict[str, object] = {HOST: {"aliases": [NEIGHBOUR], "certificate": "shared", **options}, OTHER: options}
        # One process: tests look at it, and at which upstream connections it uses again.
        daemon_options = {"workers": 1, **daemon_options}
        if BY_AIOHTTP:
            daemon_options = {"fast_path": False, **daemon_options}
        daemon.configure(hosts, acme={"server": "https://127.0.0.1:9/directory"}, **daemon_options)
        daemon.start(environment=environment)
        # One context for each: they have the same subject, and OpenSSL finds issuers by it.
        context, other_context, h2_context = (ssl.create_default_context(cadata=leaf) for leaf in (*leaves, leaves[0]))
        h2_context.set_alpn_protocols(["h2"])
        for each in (
            context,
            other_context,
            h2_context,
        ):  # an end without close_notify is no end; not every Python's default
            each.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        one = Wire(daemon, upstream, context, other_context, h2_context)
        try:
            yield one
            one.refused_have_ended(before=time.monotonic())
        finally:
            status = daemon.stop()
        assert status == 0
    faults = [line for line in daemon.log().splitlines() if "unforeseen" in line or "Traceback" in line]
    assert not faults[:1], f"{len(faults)} faults"
