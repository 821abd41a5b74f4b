"""Which connection may ask for which host, and what may go on on it."""

from dataclasses import replace
from pathlib import Path

import pytest

from proxyd.core.client_rule import ClientRule
from proxyd.core.hostname import Hostname
from proxyd.core.tls_policy import TlsPolicy
from proxyd.proxy.client_access import ClientAccess
from proxyd.proxy.exchange import Downstream
from proxyd.proxy.snapshot import Site
from proxyd.proxy.times import Times
from proxyd.upstream.group import UpstreamGroup
from tests.support.client_certificates import ClientCa, der_of

HOST, OTHER = Hostname("host.example"), Hostname("other.example")
USUAL, NEWEST = TlsPolicy(), TlsPolicy(min_version="1.3")
ASKS, OTHERS = (TlsPolicy(client_auth="require", client_ca=ca) for ca in (b"one", b"two"))
OPTIONAL = TlsPolicy(client_auth="optional", client_ca=b"one")
BROKEN = TlsPolicy(client_auth="require")


def site(policy: TlsPolicy) -> Site:
    return Site(host=HOST, upstream=UpstreamGroup(()), times=Times(), policy=policy)


def connection(policy: TlsPolicy | None, name: Hostname = HOST) -> Downstream:
    return Downstream(client="192.0.2.1", names=frozenset({name}), policy=policy)


@pytest.mark.parametrize("ours", [USUAL, NEWEST, ASKS, OTHERS, OPTIONAL, BROKEN], ids=repr)
@pytest.mark.parametrize("theirs", [None, USUAL, NEWEST, ASKS, OTHERS, OPTIONAL, BROKEN], ids=repr)
def test_a_host_may_be_asked_for_by_connections_of_its_policy(ours: TlsPolicy, theirs: TlsPolicy | None) -> None:
    is_open = ours.client_auth == "none" and (theirs is None or theirs.client_auth == "none")
    for name in (HOST, OTHER):
        downstream = connection(theirs, name)
        own = name == HOST and ours == theirs
        assert site(ours).admits(downstream, HOST, is_trusted=False) is own
        assert site(ours).admits(downstream, HOST, is_trusted=True) is (own or is_open)


def test_what_is_under_way_goes_on_where_the_same_clients_are_believed() -> None:
    for ours in (USUAL, NEWEST):
        assert all(site(ours).keeps(connection(theirs)) for theirs in (None, USUAL, NEWEST, ASKS))
    assert site(ASKS).keeps(connection(ASKS))
    assert not any(site(ASKS).keeps(connection(theirs)) for theirs in (None, USUAL, OTHERS, OPTIONAL, BROKEN))


def test_new_rules_end_what_those_have_under_way_whom_they_do_not_admit(tmp_path: Path) -> None:
    ca = ClientCa(tmp_path)
    access = ClientAccess(rules=(ClientRule.parse("subject", "CN=bob"),))
    for name, keeps in (("alice", False), ("bob", True)):
        downstream = connection(ASKS)
        downstream.client_chain = (der_of(ca.client(name)),)
        assert replace(site(ASKS), client_access=access).keeps(downstream) is keeps


def test_a_new_list_ends_what_those_on_it_have_under_way(tmp_path: Path) -> None:
    ca = ClientCa(tmp_path)
    alice, bob = ca.client("alice"), ca.client("bob")
    new = TlsPolicy(client_auth="require", client_ca=b"one", client_crl=ca.revoke(alice).read_bytes())
    for file, keeps in ((alice, False), (bob, True)):
        downstream = connection(ASKS)
        downstream.client_chain = (der_of(file),)
        assert site(new).keeps(downstream) is keeps
