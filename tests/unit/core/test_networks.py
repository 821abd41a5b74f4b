import ipaddress
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.networks import PRIVATE, Address, Networks, address_of, network_of


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:0207", "192.0.2.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_addresses_have_one_spelling(written: str, text: str) -> None:
    assert str(address_of(written)) == text


@pytest.mark.parametrize("written", ["", "unknown", "192.0.2", "192.0.2.7:80", "192.0.2.07", "1", "_hidden"])
def test_what_is_no_address(written: str) -> None:
    assert address_of(written) is None


@pytest.mark.parametrize("network", ["10.0.0.0/8", "::ffff:10.0.0.0/104"])
def test_ipv4_through_ipv6_is_ipv4(network: str) -> None:
    networks = Networks([network_of(network)])
    assert networks.has("10.1.2.3")
    assert networks.has("::ffff:10.1.2.3")
    assert not networks.has("11.1.2.3")
    assert not networks.has("::a01:203")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.168.1.1", "172.31.0.1", "fd00::1", "::ffff:10.0.0.1"])
def test_private_addresses(address: str) -> None:
    assert Networks(PRIVATE).has(address)


@pytest.mark.parametrize("address", ["100.64.0.1", "172.32.0.1", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8", "", "x"])
def test_addresses_of_strangers(address: str) -> None:
    assert not Networks(PRIVATE).has(address)


def test_no_network_has_no_address() -> None:
    assert not Networks()
    assert not Networks().has("127.0.0.1")


@given(st.lists(st.ip_addresses(network="10.0.0.0/28") | st.ip_addresses(network="2001:db8::/124")), st.integers(0, 9))
def test_they_have_what_any_of_them_has(addresses: list[Address], wider: int) -> None:
    networks = [
        ipaddress.ip_network((one, one.max_prefixlen - place % (wider + 1)), strict=False)
        for place, one in enumerate(addresses)
    ]
    everywhere = [ipaddress.ip_network("0.0.0.0/0")] * (wider == 9)
    for address in (*addresses, *(one + 1 for one in addresses), ipaddress.ip_address("192.0.2.1")):
        expected = any(address in one for one in (*networks, *everywhere))
        assert (address in Networks([*networks, *everywhere])) is expected


def test_ten_thousand_networks_cost_no_more_than_ten() -> None:
    many = Networks(network_of(f"10.{one >> 8}.{one & 255}.0/24") for one in range(10_000))
    assert (many.has("10.1.2.3"), many.has("10.200.2.3")) == (True, False)
    address, began = address_of("192.0.2.1"), perf_counter()
    assert not any(address in many for _ in range(1000))
    assert perf_counter() - began < 1.0  # one after the other: 3 s and more
