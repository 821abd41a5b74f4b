"""What can mean nothing outside of a network."""

import pytest

from proxyd.core.hostname import Hostname
from proxyd.core.internal_ca import is_local


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "a.localhost", "test", "a.b.test", "nas.internal", "nas.local", "nas.home.arpa"),
        *("127.0.0.1", "127.1.2.3", "10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.1.1"),
        *("::1", "fd00::1", "fe80::1"),
    ],
)
def test_local_names(name: str) -> None:
    assert is_local(Hostname.parse(name))


@pytest.mark.parametrize(
    "name",
    [
        *("nas", "example.com", "mylocalhost", "a.attest", "internal.example.com", "arpa", "test.onion"),
        *("8.8.8.8", "172.32.0.1", "192.0.2.1", "2001:db8::1", "::2"),
    ],
)
def test_others(name: str) -> None:
    assert not is_local(Hostname.parse(name))
