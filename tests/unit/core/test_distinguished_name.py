"""Names of certificates as text: the same name is equal however it is written, and another one never."""

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.distinguished_name import one_line, parse_name

_ATTRIBUTES = [x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME, x509.NameOID.EMAIL_ADDRESS]


@pytest.mark.parametrize(
    "written",
    ["CN=alice,O=Example", "cn=alice, o=Example", "CN = alice , O = Example ", r"CN=\61lice,O=Example"],
)
def test_the_same_name(written: str) -> None:
    assert parse_name(written) == parse_name("CN=alice,O=Example")


@pytest.mark.parametrize(
    "written",
    ["O=Example,CN=alice", "CN=Alice,O=Example", "CN=alice", r"CN=alice\,O=Example", "CN=alice+O=Example"],
)
def test_another_name(written: str) -> None:
    assert parse_name(written) != parse_name("CN=alice,O=Example")


def test_what_people_write() -> None:
    assert parse_name("emailAddress=a@b") == parse_name("E=a@b") == parse_name("1.2.840.113549.1.9.1=a@b")
    assert parse_name("CN=a+UID=b") == parse_name("UID=b+CN=a")
    assert parse_name(r"CN=\C3\A4") == parse_name("CN=ä")


@pytest.mark.parametrize(
    "written", ["", "alice", "CN=", "CN=a,", "=a", "CN=#0401", 'CN="a,b"', r"CN=a\q", r"CN=\FF", "/CN=a"]
)
def test_what_is_no_name(written: str) -> None:
    with pytest.raises(ValueError, match=r"must be|has a|has bytes"):
        parse_name(written)


_values = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(st.sampled_from(_ATTRIBUTES), _values), min_size=1, max_size=3))
def test_each_name_of_a_certificate_is_read_as_it_is(attributes: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])
    found = [value for one in parse_name(name.rfc4514_string()) for _, value in one]
    assert found == [value for _, value in reversed(attributes)]
    assert parse_name(one_line(name.rfc4514_string()).decode()) == parse_name(name.rfc4514_string())


@given(st.text())
def test_one_line_is_visible_ascii(text: str) -> None:
    assert all(0x20 <= byte < 0x7F for byte in one_line(text))
