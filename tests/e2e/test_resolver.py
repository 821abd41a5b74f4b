"""Our DNS look-ups against servers that are slow, dead, hostile, or merely full of records."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from proxyd.config.values import DnsServerAddress
from proxyd.core.caa import CaaRecord
from proxyd.core.hostname import Hostname
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.name_look import NameLook, Vantage
from proxyd.issuance.resolver import DnsError, Resolver, system_servers
from proxyd.issuance.self_check import SelfCheck

NAME = Hostname("www.shop.example.test")
Records = dict[tuple[str, str], list[str]]
Twist = Callable[[dns.message.Message, bool], list[bytes]]


class DnsServer:
    """Answers from `records`, over UDP and TCP of one port; `twist` may change an answer or withhold it."""

    def __init__(self, records: Records, twist: Twist) -> None:
        self._records = records
        self._twist = twist
        self.times: list[float] = []
        self.asked: list[tuple[str, str]] = []
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self.address = DnsServerAddress("127.0.0.1", self.port)
        self._threads = [threading.Thread(target=one) for one in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for sock in (self._udp, self._tcp):
            sock.shutdown(socket.SHUT_RDWR) if sock is self._tcp else sock.sendto(b"", ("127.0.0.1", self.port))
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()

    def _serve_udp(self) -> None:
        while True:
            data, client = self._udp.recvfrom(4096)
            if not data:
                return
            for answer in self._answers(data, tcp=False):
                self._udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                length = int.from_bytes(connection.recv(2))
                for answer in self._answers(connection.recv(length), tcp=True):
                    connection.sendall(len(answer).to_bytes(2) + answer)

    def _answers(self, data: bytes, *, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.times.append(time.monotonic())
        self.asked.append((name, kind))
        answer = dns.message.make_response(query, recursion_available=True)
        if found := self._records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, found))
        elif not any(known == name for known, _ in self._records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return self._twist(answer, tcp)


def plainly(answer: dns.message.Message, tcp: bool) -> list[bytes]:
    return [answer.to_wire()]


@contextmanager
def serving(records: Records, twist: Twist = plainly) -> Iterator[DnsServer]:
    server = DnsServer(records, twist)
    try:
        yield server
    finally:
        server.close()


def resolver(*servers: DnsServer) -> Resolver:
    made = Resolver(clock=SystemClock())
    made.servers = tuple(server.address for server in servers)
    return made


async def test_addresses_of_both_families_sorted() -> None:
    records = {(NAME.text, "A"): ["192.0.2.9", "192.0.2.10"], (NAME.text, "AAAA"): ["2001:DB8::1"]}
    with serving(records) as server:
        assert await resolver(server).addresses(NAME) == ("192.0.2.10", "192.0.2.9", "2001:db8::1")
        assert await resolver(server).addresses(Hostname("none.example.test")) == ()


@pytest.mark.parametrize(("broken", "left"), [("AAAA", "192.0.2.9"), ("A", "2001:db8::1")])
async def test_a_family_without_an_answer_hides_nothing_of_the_other(broken: str, left: str) -> None:
    def fails(answer: dns.message.Message, tcp: bool) -> list[bytes]:
        if answer.question[0].rdtype == dns.rdatatype.from_text(broken):
            answer.set_rcode(dns.rcode.SERVFAIL)
            answer.answer = []
        return [answer.to_wire()]

    records = {(NAME.text, "A"): ["192.0.2.9"], (NAME.text, "AAAA"): ["2001:DB8::1"]}
    with serving(records, fails) as server:
        mine = resolver(server)
        assert await mine.addresses(NAME) == (left,)
        found, trouble = await mine.look_up(NAME)
        assert found == (left,)
        assert f"no answer for {broken} of {NAME}" in str(trouble)
        look = NameLook(mine, SelfCheck(clock=SystemClock(), key=None))
        seen = await look.look(NAME, Vantage(port=None))
        assert (seen.addresses, seen.caa, seen.trouble) == ((left,), (), trouble)
    none = {(NAME.text, "CAA"): ['0 issue "ca.example"']}
    with serving(none, fails) as server, pytest.raises(DnsError, match=f"no answer for {broken} of {NAME}"):
        await resolver(server).addresses(NAME)


async def test_an_ip_address_asks_nobody() -> None:
    with serving({}) as server:
        assert await resolver(server).addresses(Hostname("192.0.2.7")) == ("192.0.2.7",)
        assert await resolver(server).caa(Hostname("2001:db8::1")) == ()
        assert server.asked == []


async def test_caa_climbs_to_the_nearest_parent_that_has_records() -> None:
    records = {("shop.example.test", "CAA"): ['0 issue "ca.example"'], ("example.test", "CAA"): ['0 issue "other"']}
    with serving(records) as server:
        assert await resolver(server).caa(NAME) == (CaaRecord(0, "issue", "ca.example"),)
        assert server.asked == [(NAME.text, "CAA"), ("shop.example.test", "CAA")]
        assert await resolver(server).caa(Hostname("a.test")) == ()
        assert server.asked[2:] == [("a.test", "CAA"), ("test", "CAA")]


async def test_an_alias_is_followed() -> None:
    def alias(answer: dns.message.Message, tcp: bool) -> list[bytes]:
        name = answer.question[0].name
        answer.set_rcode(dns.rcode.NOERROR)
        answer.answer = [
            dns.rrset.from_text(name, 60, "IN", "CNAME", "cdn.example."),
            dns.rrset.from_text("cdn.example.", 60, "IN", "A", "192.0.2.4"),
        ]
        return [answer.to_wire()] if answer.question[0].rdtype == dns.rdatatype.A else plainly(answer, tcp)

    with serving({}, alias) as server:
        assert await resolver(server).addresses(NAME) == ("192.0.2.4",)


async def test_a_truncated_answer_is_asked_for_again_over_tcp_and_bounded() -> None:
    many = [f"192.0.2.{number}" for number in range(200)]

    def truncated(answer: dns.message.Message, tcp: bool) -> list[bytes]:
        if not tcp and answer.answer:
            answer.answer = []
            answer.flags |= dns.flags.TC
        return [answer.to_wire()]

    with serving({(NAME.text, "A"): many}, truncated) as server:
        found = await resolver(server).addresses(NAME)
        assert len(found) == 32
        assert set(found) <= set(many)


async def test_lies_and_garbage_before_the_answer_are_ignored() -> None:
    def lies(answer: dns.message.Message, tcp: bool) -> list[bytes]:
        other = dns.message.from_wire(answer.to_wire())
        other.id ^= 1
        right = answer.to_wire()
        return [b"garbage", b"\0" * 12, other.to_wire(), right[:-3], right]

    with serving({(NAME.text, "A"): ["192.0.2.1"]}, lies) as server:
        assert await resolver(server).addresses(NAME) == ("192.0.2.1",)


async def test_what_the_owner_writes_into_a_record_cannot_reach_a_terminal() -> None:
    records = {(NAME.text, "CAA"): ['0 issue "\\027[31m\\010evil"', f'0 issue "{"x" * 250}"']}
    with serving(records) as server:
        found = await resolver(server).caa(NAME)
        assert all(str(record).isprintable() for record in found)
        assert len(found) == 2


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_the_next_server_is_asked_when_one_fails(code: dns.rcode.Rcode) -> None:
    def broken(answer: dns.message.Message, tcp: bool) -> list[bytes]:
        answer.set_rcode(code)
        answer.answer = []
        return [answer.to_wire()]

    records = {(NAME.text, "A"): ["192.0.2.1"]}
    with serving(records, broken) as first, serving(records) as second:
        assert await resolver(first, second).addresses(NAME) == ("192.0.2.1",)
        with pytest.raises(DnsError, match=f"no answer for A of {NAME}.*{dns.rcode.to_text(code)}"):
            await resolver(first).addresses(NAME)


async def test_a_silent_server_costs_two_seconds() -> None:
    with serving({}, lambda _answer, _tcp: []) as server:
        began = time.monotonic()
        with pytest.raises(DnsError, match="did not answer within 2 s"):
            await resolver(server).addresses(NAME)
        assert time.monotonic() - began < 5


async def test_a_mend_is_seen_after_seconds_and_the_pace_is_kept() -> None:
    records: Records = {(f"h{number}.example.test", "A"): ["192.0.2.1"] for number in range(12)}
    with serving(records) as server:
        mine = resolver(server)
        for number in range(12):
            await mine.addresses(Hostname(f"h{number}.example.test"))
        await mine.addresses(Hostname("h0.example.test"))  # remembered for a moment: not asked
        assert len(server.times) == 24
        for at in server.times:
            assert sum(1 for one in server.times if at <= one < at + 1) <= 21


def test_the_systems_servers_are_those_of_resolv_conf() -> None:
    assert all(server.port == 53 for server in system_servers())
