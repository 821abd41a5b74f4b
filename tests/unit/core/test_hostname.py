import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.hostname import Hostname, InvalidHostname


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Example.COM.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_srv.example.com", "_srv.example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8::0:1]", "2001:db8::1"),
    ],
)
def test_one_spelling(written: str, text: str) -> None:
    assert Hostname.parse(written).text == text


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("https://example.com/x", "is a URL, not a host name: write 'example.com'"),
        ("example.com:443", "has a port"),
        ("", "is empty"),
        ("a..b", "empty part"),
        ("-a.example", "must be 1 to 63"),
        ("a b.example", "must be 1 to 63"),
        ("1.2.3", "looks like an IP address"),
        ("x" * 64 + ".example", "must be 1 to 63"),
        ("xn--a.example", "broken international label"),
        ("a." * 130 + "example", "at most 253"),
    ],
)
def test_what_is_no_host_name_is_refused_with_the_next_step(written: str, says: str) -> None:
    with pytest.raises(InvalidHostname) as caught:
        Hostname.parse(written)
    assert says in str(caught.value)


@given(st.text(max_size=300))
def test_the_wire_never_raises_and_yields_only_safe_names(name: str) -> None:
    host = Hostname.from_wire(name)
    if host is not None:
        assert host.text.isascii()
        assert not set(host.text) & set("/\\\0 %")
        assert Hostname.from_wire(host.text) == host


@pytest.mark.parametrize(
    ("name", "public"),
    [("example.com", True), ("a.test", False), ("localhost", False), ("nas.home.arpa", False), ("10.0.0.1", False)],
)
def test_which_names_a_public_ca_certifies(name: str, public: bool) -> None:
    assert Hostname.parse(name).is_public is public


TEXTS = (
    st.text(max_size=300)
    | st.text("ab9xn-._:[]%/1f\n ü", max_size=40)
    | st.lists(
        st.sampled_from(["xn--", "fe80", "::", "1", ".", "%", "eth0", "[", "]", "a-b", "ü", "ß", "\u200d", "-", "٣"]),
        max_size=9,
    ).map("".join)
)


@given(TEXTS)
def test_every_text_is_a_name_in_one_spelling_or_refused(written: str) -> None:
    try:
        host = Hostname.parse(written)
    except InvalidHostname:
        return
    assert Hostname.parse(host.text) == host
    assert Hostname.from_wire(host.text) == host
    assert Hostname.parse(host.authority) == host
    assert host.text.isascii()
    assert not set(host.text) & set("/\\\0 %\n")
    assert isinstance(host.is_public, bool)


@given(TEXTS)
def test_what_the_wire_gives_is_written_the_same(name: str) -> None:
    host = Hostname.from_wire(name)
    if host is not None:
        assert Hostname.parse(host.text) == host
        assert not set(host.text) & set("/\\\0 %\n")


@pytest.mark.parametrize("name", ["fe80::1%eth0", "::%\n", "[::1%x]"])
def test_a_zone_is_of_one_machine_and_in_no_name(name: str) -> None:
    assert Hostname.from_wire(name) is None
    with pytest.raises(InvalidHostname):
        Hostname.parse(name)
