import pytest

from proxyd.core.host_field import host_of


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        *((b"A.Test.:443", "a.test"), (b"[2001:DB8::0:1]:1", "2001:db8::1"), (b"192.0.2.1", "192.0.2.1")),
        *((b"a" * 63 + b".test", "a" * 63 + ".test"), (b"a.test:0", "a.test"), (b"a.test:65535", "a.test")),
    ],
)
def test_hosts(authority: bytes, host: str) -> None:
    found = host_of(authority)
    assert found is not None
    assert found.text == host


@pytest.mark.parametrize(
    "authority", [b"", b"a.test:65536", b"a.test:", b"a.test\n", b"a.test:1\n", b"\xef\xbc\x91", b"[::1", b"0x7f.1"]
)
def test_what_is_no_host(authority: bytes) -> None:
    assert host_of(authority) is None
