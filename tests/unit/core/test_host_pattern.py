"""Wildcards: one label, the closest first, never for an address."""

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname

APPS, ANY = HostPattern("*.apps.example.com"), HostPattern("*")


def test_one_label_and_no_more() -> None:
    matching = {"a.apps.example.com", "xn--bcher-kva.apps.example.com"}
    others = {"apps.example.com", "a.b.apps.example.com", "a.apps.example.com.evil.com", "aapps.example.com", "a"}
    assert {name for name in matching | others if APPS.matches(Hostname(name))} == matching
    assert all(ANY.matches(Hostname(name)) for name in matching | others)
    assert not ANY.matches(Hostname("192.0.2.1"))
    assert not ANY.matches(Hostname("2001:db8::1"))
    assert not HostPattern("*.0.2.1").matches(Hostname("192.0.2.1"))


def test_exact_then_the_closest_wildcard() -> None:
    table = HostTable({Hostname("www.apps.example.com"): 1}, {APPS: 2, ANY: 3})
    found = [table.get(Hostname(f"{label}apps.example.com")) for label in ("www.", "a.", "a.b.", "")]
    assert found == [1, 2, 3, 3]
    assert table.pattern(Hostname("www.apps.example.com")) is None
    assert table.pattern(Hostname("a.apps.example.com")) == APPS
    assert Hostname("192.0.2.1") not in table
    assert Hostname("a.com") in table
    assert "a.com" not in table
    assert Hostname("a.com") not in HostTable({}, {APPS: 2})


@given(st.lists(st.from_regex(r"\A[a-z0-9]{1,8}\Z"), min_size=1, max_size=6).map(".".join))
def test_a_name_is_under_its_own_patterns_only(text: str) -> None:
    if (host := Hostname.from_wire(text)) is None:
        return
    over = HostPattern.over(host)
    assert all(pattern.matches(host) for pattern in over)
    assert len(over) == (0 if host.is_ip_address else 2 if "." in text else 1)
    assert all(HostPattern.parse(pattern.text) == pattern for pattern in over if not pattern.text[-1].isdigit())
