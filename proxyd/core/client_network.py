"""Which clients count as one."""

import ipaddress


def network_of(client: str, *, ipv4: int = 24, ipv6: int = 56) -> str:
    """Return the network that counts as one client, by so many bits of its address."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client[:64]
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return str(ipaddress.ip_network((address, ipv4 if address.version == 4 else ipv6), strict=False))
