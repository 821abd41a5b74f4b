"""Our own CA: what it is called, and which names its limited root may certify."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from proxyd.core.hostname import Hostname

#: As `acme.server` and as the issuer in `status`; no CA of the world is called so.
INTERNAL = "internal"
#: Names that nobody owns in the public DNS (RFC 6761, RFC 6762, RFC 8375, ICANN 2024).
LOCAL_SUFFIXES = ("localhost", "test", "internal", "local", "home.arpa")
#: Loopback, private, shared (RFC 6598) and link-local addresses.
LOCAL_NETWORKS: tuple[IPv4Network | IPv6Network, ...] = tuple(
    ip_network(one)
    for one in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
#: New names in a day under a wildcard host of the internal CA, which has no limits: it bounds files, no budget.
NEW_NAMES_A_DAY = 1000


def is_local(host: Hostname) -> bool:
    """Return whether the name, or address, can mean nothing outside of this network: the limited root may have it."""
    if host.is_ip_address:
        address = ip_address(host.text)
        return any(address in one for one in LOCAL_NETWORKS)
    return any(host.text == suffix or host.text.endswith(f".{suffix}") for suffix in LOCAL_SUFFIXES)
