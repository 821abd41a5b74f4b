"""Addresses in one spelling, and sets of them. IPv4 that came through IPv6 (`::ffff:`) is IPv4."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Bytes of the prefix ::ffff:0:0/96 (RFC 4291 §2.5.5.2).
_MAPPED = 96


def address_of(text: str) -> Address | None:
    """Return the address, without its zone and IPv4 as such, or None when it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def is_loopback(host: str) -> bool:
    """Return whether the host of a URL is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def network_of(text: str) -> Network:
    """Return a network in CIDR notation, or of one address. Raises ValueError."""
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED))
    return network


class Networks:
    """A frozen set of addresses, by networks. Lists of countries have ten thousand: a look costs one of each length."""

    __slots__ = ("_ipv4", "_ipv6")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        both = [*networks]
        self._ipv4 = _prefixes(one for one in both if one.version == 4)
        self._ipv6 = _prefixes(one for one in both if one.version == 6)

    def __bool__(self) -> bool:
        return bool(self._ipv4 or self._ipv6)

    def __contains__(self, address: Address | None) -> bool:
        if address is None:
            return False
        number = int(address)
        return any(number >> rest in heads for rest, heads in (self._ipv4 if address.version == 4 else self._ipv6))

    def has(self, text: str) -> bool:
        """Return whether it is the text of an address among these."""
        return bool(self) and address_of(text) in self


def _prefixes(networks: Iterable[Network]) -> tuple[tuple[int, frozenset[int]], ...]:
    """Return what addresses begin with, for each number of bits that follow."""
    found = defaultdict[int, set[int]](set)
    for one in networks:
        rest = one.max_prefixlen - one.prefixlen
        found[rest].add(int(one.network_address) >> rest)
    return tuple((rest, frozenset(heads)) for rest, heads in found.items())


NOBODY: Final = Networks()
#: Loopback, RFC 1918 and RFC 4193: what no stranger can send from. Shared address space (100.64.0.0/10) is not in it.
PRIVATE: Final = tuple(
    network_of(one) for one in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
