"""How requests are spread over upstreams."""

from collections import Counter
from dataclasses import dataclass

import pytest

from proxyd.core.balance import Balance


@dataclass
class Server:
    name: str
    active: int = 0


@pytest.fixture
def servers() -> list[Server]:
    return [Server("a"), Server("b"), Server("c")]


def test_round_robin_takes_turns(servers: list[Server]) -> None:
    balance = Balance("round_robin")
    assert "".join(balance.choose(servers, "192.0.2.1").name for _ in range(7)) == "abcabca"


def test_first_takes_the_first_that_is_there(servers: list[Server]) -> None:
    balance = Balance("first")
    assert {balance.choose(servers, f"192.0.2.{n}").name for n in range(9)} == {"a"}
    assert balance.choose(servers[1:], "192.0.2.1").name == "b"


def test_least_conn_takes_who_has_least_to_do(servers: list[Server]) -> None:
    balance = Balance("least_conn")
    for one, active in zip(servers, (2, 1, 3), strict=True):
        one.active = active
    assert {balance.choose(servers, "192.0.2.1").name for _ in range(9)} == {"b"}


def test_least_conn_spreads_requests_that_follow_each_other(servers: list[Server]) -> None:
    balance = Balance("least_conn")
    assert Counter(balance.choose(servers, "192.0.2.1").name for _ in range(9)) == {"a": 3, "b": 3, "c": 3}
    servers[0].active = 1
    assert Counter(balance.choose(servers, "192.0.2.1").name for _ in range(9)).keys() == {"b", "c"}


def test_ip_hash_moves_only_the_clients_of_who_left(servers: list[Server]) -> None:
    balance = Balance("ip_hash")
    clients = [f"192.0.2.{number}" for number in range(200)]
    before = {client: balance.choose(servers, client).name for client in clients}
    assert all(count > 40 for count in Counter(before.values()).values())
    without_b = [servers[2], servers[0]]
    after = {client: balance.choose(without_b, client).name for client in clients}
    assert all(after[client] == name for client, name in before.items() if name != "b")


def test_ip_hash_knows_a_client_by_its_network(servers: list[Server]) -> None:
    balance = Balance("ip_hash")
    many = [Server(str(number)) for number in range(50)]
    assert len({balance.choose(many, f"2001:db8::{number}").name for number in range(20)}) == 1
    assert balance.choose(many, "::ffff:192.0.2.7") is balance.choose(many, "192.0.2.7")
    assert balance.choose(servers, "") in servers
