"""Which clients count as one."""

import ipaddress

from proxyd.core.networks import address_of


def network_of(client: str, *, ipv4: int = 24, ipv6: int = 56) -> str:
    """Return the network that counts as one client, by so many bits of its address."""
    address = address_of(client)
    if address is None:
        return client[:64]
    return str(ipaddress.ip_network((address, ipv4 if address.version == 4 else ipv6), strict=False))
