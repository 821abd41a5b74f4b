"""Which certificate serves which name."""

import asyncio
import contextlib
import ssl
from dataclasses import replace

import pytest

from proxyd.certs.certificate import Certificate
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.tls_policy import TlsPolicy
from proxyd.tls.certificate_table import CertificateTable, Selection
from proxyd.tls.context import certificate_context
from tests.support.certs import make_pem

HOST, OTHER, WILDCARD = Hostname("example.com"), Hostname("other.example"), Hostname("*.example.com")
IPV4, IPV6 = Hostname("192.0.2.1"), Hostname("2001:db8::1")


def certificate(*hosts: Hostname, rsa_key: bool = False) -> Certificate:
    return Certificate.parse(make_pem(*(host.text for host in hosts), rsa_key=rsa_key))


@pytest.mark.parametrize("host", [HOST, IPV4, IPV6], ids=str)
async def test_it_confirms_what_its_own_selection_shows(host: Hostname) -> None:
    table, one, another = CertificateTable(), certificate(host), certificate(host)
    assert not await table.confirm(host, one)
    table.put(host, [one])
    assert await table.confirm(host, one)
    assert not await table.confirm(host, another)
    table.put(host, [another])
    assert await table.confirm(host, another)
    assert not await table.confirm(host, one)


async def test_it_confirms_each_of_two_kinds_of_keys() -> None:
    table, modern, old = CertificateTable(), certificate(HOST), certificate(HOST, rsa_key=True)
    table.put(HOST, [modern, old])
    assert await table.confirm(HOST, modern)
    assert await table.confirm(HOST, old)
    newer = certificate(HOST, rsa_key=True)
    table.put(HOST, [modern, newer])
    assert await table.confirm(HOST, modern)
    assert await table.confirm(HOST, newer)
    assert not await table.confirm(HOST, old)


async def test_a_name_under_a_wildcard_is_confirmed_by_its_own_certificate() -> None:
    """A client that asks for a sample label is shown what serves that name, not what serves the wildcard."""
    table, sample = CertificateTable(), Hostname("proxyd-check.example.com")
    one = certificate(WILDCARD)
    table.put(sample, [one])
    assert await table.confirm(WILDCARD, one)
    table.put(sample, [certificate(sample)])
    assert not await table.confirm(WILDCARD, one)


async def test_a_context_that_shows_an_older_one_is_found_out() -> None:
    """The selection of a handshake is kept: `confirm` must look at what is shown, not only at what was put."""
    table, old, new = CertificateTable(), certificate(HOST), certificate(HOST)
    table.put(HOST, [old])
    selection = table.select(HOST.text)
    assert selection is not None
    table.put(HOST, [new])
    swapped = table.select(HOST.text)
    assert swapped is not None
    object.__setattr__(swapped, "context", selection.context)
    assert not await table.confirm(HOST, new)


async def test_what_openssl_rejects_does_not_replace_what_serves() -> None:
    table, one, new = CertificateTable(), certificate(HOST), certificate(HOST)
    table.put(HOST, [one])
    assert await table.confirm(HOST, one)
    with pytest.raises(ssl.SSLError):
        table.put(HOST, [replace(new, pem=new.pem[:-100])])
    assert await table.confirm(HOST, one)


async def test_what_served_before_is_restored() -> None:
    table, one, new = CertificateTable(), certificate(HOST), certificate(HOST)
    table.put(HOST, [one])
    before = table.certificates(HOST)
    table.put(HOST, [new])
    table.restore(HOST, before)
    assert await table.confirm(HOST, one)
    table.restore(HOST, ())
    assert table.select(HOST.text) is None
    assert table.certificate(HOST) is None


def test_unknown_names_and_forgotten_ones_are_refused() -> None:
    table, one = CertificateTable(), certificate(HOST, OTHER)
    for host in (HOST, OTHER):
        table.put(host, [one])
    assert table.select(None) is None
    assert table.select("nobody.example") is None
    assert table.select("..") is None
    table.keep_only([HOST])
    assert table.select(OTHER.text) is None
    table.remove(HOST)
    table.remove(HOST)
    assert table.select(HOST.text) is None


async def test_contexts_are_forgotten_not_certificates() -> None:
    table, hosts = CertificateTable(max_contexts=2), [Hostname(f"h{number}.example") for number in range(4)]
    one = certificate(*hosts)
    for host in hosts:
        table.put(host, [one])
    first = table.select(hosts[0].text)
    for host in hosts[1:]:
        assert await table.confirm(host, one)
    assert table.select(hosts[3].text) is table.select(hosts[3].text)
    assert table.select(hosts[0].text) is not first
    assert await table.confirm(hosts[0], one)


async def test_what_serves_is_changed_at_once_or_not_at_all() -> None:
    table, one, new = CertificateTable(), certificate(HOST), certificate(HOST)
    table.put(HOST, [one])
    with pytest.raises(ssl.SSLError):
        await table.change(HOST, lambda _: [replace(new, pem=new.pem[:-100])])
    assert await table.confirm(HOST, one)
    await table.change(HOST, lambda _: [new])
    assert table.certificates(HOST) == (new,)
    assert await table.confirm(HOST, new)


async def test_changes_of_both_kinds_of_keys_at_once_lose_nothing() -> None:
    table, modern, old = CertificateTable(), certificate(HOST), certificate(HOST, rsa_key=True)
    await asyncio.gather(
        table.change(HOST, lambda others: [*others, modern]), table.change(HOST, lambda others: [*others, old])
    )
    assert set(table.certificates(HOST)) == {modern, old}
    assert await table.confirm(HOST, modern)
    assert await table.confirm(HOST, old)


async def test_contexts_that_were_changed_are_forgotten_like_others() -> None:
    table, hosts = CertificateTable(max_contexts=2), [Hostname(f"h{number}.example") for number in range(3)]
    one = certificate(*hosts)
    for host in hosts:
        await table.change(host, lambda _: [one])
    kept = [table.select(host.text) for host in hosts[1:]]
    assert [table.select(host.text) for host in hosts[1:]] == kept


@pytest.mark.parametrize("before", [True, False])
async def test_a_host_that_is_removed_during_a_change_does_not_come_back(before: bool) -> None:
    table, one, hosts = CertificateTable(), certificate(HOST), {HOST}
    if before:
        table.put(HOST, [certificate(HOST)])
    change = asyncio.create_task(table.change(HOST, lambda _: [one] if HOST in hosts else []))
    await asyncio.sleep(0)  # it is in its thread
    hosts.clear()
    table.keep_only(hosts)
    await change
    assert table.certificates(HOST) == ()
    assert table.select(HOST.text) is None


def test_who_sends_no_name_gets_the_default_and_never_an_old_one() -> None:
    one, other = Hostname("one.example"), Hostname("two.example")
    table = CertificateTable()
    first, second = (Certificate.parse(make_pem(one.text)) for _ in range(2))
    assert table.select(None, None, one) is None
    table.put(one, [first])
    named, nameless = table.select("one.example"), table.select(None, Hostname("192.0.2.1"), one)
    assert named
    assert nameless
    assert nameless.context is not named.context
    assert table.select(None, None, one) is nameless
    assert table.select("two.example", None, one) is None
    assert table.select(None, None, other) is None
    table.put(one, [second])
    changed = table.select(None, None, one)
    assert changed
    assert changed.certificate == second
    table.keep_only([other])
    assert table.select(None, None, one) is None


def test_of_a_policy_that_changes_nothing_is_selected_any_more() -> None:
    table, one, newer = CertificateTable(), certificate(HOST, OTHER), TlsPolicy(min_version="1.3")
    for host in (HOST, OTHER):
        table.put(host, [one])

    def selected() -> list[Selection | None]:
        named = [table.select(host.text) for host in (HOST, OTHER)]
        return [*named, table.select(None, None, HOST), table.select_for_any_name(HOST)]

    before = selected()
    table.keep_to(HostTable({OTHER: TlsPolicy()}))
    assert all(old is new for old, new in zip(before, selected(), strict=True))
    table.keep_to(HostTable({HOST: newer}))
    after = selected()
    assert [old is new for old, new in zip(before, after, strict=True)] == [False, True, False, False]
    assert [one.policy if one else None for one in after] == [newer, TlsPolicy(), newer, newer]
    assert [one.context.minimum_version.name if one else "" for one in after] == [
        "TLSv1_3",
        "TLSv1_2",
        "TLSv1_3",
        "TLSv1_3",
    ]


def test_names_under_a_wildcard_host_have_its_policy() -> None:
    table, under = CertificateTable(), Hostname("a.example.com")
    table.put(under, [certificate(WILDCARD)])
    table.keep_to(HostTable({}, {HostPattern("*.example.com"): TlsPolicy(min_version="1.3")}))
    selection = table.select(under.text)
    assert selection
    assert selection.policy.min_version == "1.3"


async def test_a_policy_that_changes_during_a_change_is_kept_to() -> None:
    table, one = CertificateTable(), certificate(HOST)
    change = asyncio.create_task(table.change(HOST, lambda _: [one]))
    await asyncio.sleep(0)  # it is in its thread
    table.keep_to(HostTable({HOST: TlsPolicy(min_version="1.3")}))
    await change
    selection = table.select(HOST.text)
    assert selection
    assert selection.policy.min_version == "1.3"
    assert selection.context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_no_context_is_older_than_a_day() -> None:
    times = iter([0.0, 86_399.0, 86_402.0, 86_402.0, 86_403.0])
    table = CertificateTable(now=lambda: next(times))
    table.put(HOST, [certificate(HOST)])
    first, second, third, fourth = (table.select(HOST.text) for _ in range(4))
    assert first is second
    assert third is not second
    assert third is fourth


def test_who_may_send_any_name_is_served_as_the_default() -> None:
    table = CertificateTable()
    assert table.select_for_any_name(HOST) is None
    table.put(HOST, [certificate(HOST)])
    selection = table.select_for_any_name(HOST)
    assert selection
    assert selection.host == HOST
    for name in (None, "unknown.example", HOST.text):
        assert handshake(selection.context, name)


def test_a_context_for_no_name_serves_no_name() -> None:
    host = Hostname("one.example")
    certificate = Certificate.parse(make_pem(host.text))
    nameless = certificate_context(host, [certificate], sent="none")
    named = certificate_context(host, [certificate])
    assert handshake(nameless, None)
    assert handshake(named, "one.example")
    for context, name in ((nameless, "one.example"), (named, None), (named, "two.example")):
        with pytest.raises(ssl.SSLError):
            handshake(context, name)


def handshake(context: ssl.SSLContext, name: str | None) -> bool:
    """Return whether a client that sends `name` is served. Raises ssl.SSLError."""
    client_context = ssl.create_default_context()
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return client.version() is not None
