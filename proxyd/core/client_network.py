"""Which clients count as one."""

import ipaddress


def network_of(client: str) -> str:
    """Return the network that counts as one client: /24, IPv6 /56."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client[:64]
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 56), strict=False))
