"""Which clients count as one."""

from proxyd.core.client_network import network_of


def test_networks() -> None:
    assert network_of("192.0.2.77") == network_of("::ffff:192.0.2.1") == "192.0.2.0/24"
    assert network_of("2001:db8::1") == network_of("2001:db8:0:ff::1") != network_of("2001:db8:0:100::1")
    assert network_of("fe80::1%eth0") == "fe80::/56"
    assert len(network_of("x" * 1000)) == 64
    assert network_of("192.0.2.77", ipv4=32) == "192.0.2.77/32"
    assert network_of("2001:db8::1", ipv6=64) == network_of("2001:db8::f:1", ipv6=64) == "2001:db8::/64"
