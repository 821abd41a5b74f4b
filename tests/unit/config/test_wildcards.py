"""Wildcard hosts in the file, and acme.on_demand."""

import pytest

from proxyd.config.ask_url import AskUrl
from proxyd.config.document import ConfigError
from proxyd.config.load import parse
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname

ASK = "acme: {on_demand: {ask: 'http://127.0.0.1:9000/check'}}\n"
APPS, ANY = HostPattern("*.apps.example.com"), HostPattern("*")


def test_wildcards_beside_listed_names() -> None:
    text = ASK + 'hosts:\n  "*.Apps.Example.com.": {upstream: 1, aliases: [apps.example.com]}\n  "*": 2\n  a.com: 3\n'
    config = parse(text, "f")
    assert set(config.wildcards) == {APPS, ANY}
    assert {name.text for name in config.names} == {"apps.example.com", "a.com"}
    assert {name.text for name in config.certificate_hosts} == {"apps.example.com", "a.com"}
    assert len(config.served) == 4


def test_a_host_overrides_the_common_rule_key_by_key() -> None:
    own = "{upstream: 1, acme: {key_type: p384, on_demand: {max_new_per_day: 3}}}"
    config = parse(f'{ASK}hosts:\n  "*.apps.example.com": {own}\n  "*": 2\n', "f")
    apps, every = config.acme_of(APPS), config.acme_of(ANY)
    assert apps.on_demand is not None
    assert every.on_demand is not None
    assert (apps.on_demand.max_new_per_day, every.on_demand.max_new_per_day) == (3, 10)
    assert apps.on_demand.ask == every.on_demand.ask == AskUrl("http://127.0.0.1:9000/check")
    assert config.acme_of(Hostname("x.apps.example.com")).key_type == "p384"


def test_an_empty_mapping_is_the_defaults_and_null_is_off() -> None:
    config = parse('hosts:\n  "*.a.com": {upstream: 1, acme: {on_demand: {}}}\n', "f")
    on_demand = config.acme_of(HostPattern("*.a.com")).on_demand
    assert on_demand is not None
    assert (on_demand.ask, on_demand.max_new_per_day) == (None, 10)
    with pytest.raises(ConfigError, match="needs dns-01"):
        parse(ASK + 'hosts:\n  "*.a.com": {upstream: 1, acme: {on_demand: null}}\n', "f")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('hosts:\n  "*.a.com": 80\n', "f:2:3: hosts.*.a.com: a wildcard certificate needs dns-01"),
        ('hosts:\n  "*": 80\n', 'every name of the world is under "*": it needs acme.on_demand.ask'),
        ('acme: {on_demand: {}}\nhosts:\n  "*": 80\n', "it needs acme.on_demand.ask"),
        (ASK + 'hosts:\n  "a.*.com": 80\n', "the * stands for the whole first label"),
        (ASK + 'hosts:\n  "*a.com": 80\n', "the * stands for the whole first label"),
        (ASK + 'hosts:\n  "*.*.com": 80\n', "the * stands for the whole first label"),
        (ASK + 'hosts:\n  "*.10.0.0.1": 80\n', "IP addresses have no names under them"),
        (ASK + 'hosts:\n  "*.": 80\n', "the host name is empty"),
        (ASK + f'hosts:\n  "*.{"a" * 63}.{"b" * 63}.{"c" * 63}.{"d" * 60}": 80\n', "leaves no room for a label"),
        (
            ASK + 'hosts:\n  "*.a.local": {upstream: 80, tls: {issuer: acme}}\n',
            "no public CA certifies names under *.a.local",
        ),
        (ASK + 'hosts:\n  "*.a.com": {upstream: 1, certificate: shared}\n', "each gets a certificate of its own"),
        (ASK + 'hosts:\n  "*.a.com": 80\n  "*.A.com.": 80\n', "*.a.com is listed twice"),
        (ASK + 'hosts:\n  b.com: {upstream: 1, aliases: ["*.a.com"]}\n', "is a wildcard: give it an entry of its own"),
        ("hosts:\n  b.com: {upstream: 1, acme: {on_demand: {}}}\n", "is for wildcard hosts: this one is listed"),
        ("acme: {fallback: [{server: zerossl, on_demand: {}}]}\nhosts:\n  b.com: 1\n", "belongs to acme itself"),
        ('hosts: {"*.a.com": {upstream: 1, acme: {on_demand: {asks: 1}}}}\n', "unknown key: did you mean ask?"),
    ],
)
def test_mistakes_have_a_next_step(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert says in str(caught.value)


@pytest.mark.parametrize("number", ["0", "-1", "100001", "1e9", "true", "ten", "1.5", "null"])
def test_numbers_that_are_refused(number: str) -> None:
    with pytest.raises(ConfigError, match="must be a number from 1 to 100000"):
        parse(f"acme: {{on_demand: {{max_new_per_day: {number}}}}}\nhosts:\n  b.com: 1\n", "f")


@pytest.mark.parametrize(
    ("written", "asks"),
    [
        ("http://127.0.0.1:9000/check", "http://127.0.0.1:9000/check?domain=a.b"),
        ("http://[::1]", "http://[::1]/?domain=a.b"),
        ("http://localhost?token=x%2Fy", "http://localhost/?token=x%2Fy&domain=a.b"),
        ("https://app.example.com/check", "https://app.example.com/check?domain=a.b"),
        ("unix:/run/app.sock", "http://localhost/?domain=a.b"),
        ("unix:/run/app.sock:/check?t=1", "http://localhost/check?t=1&domain=a.b"),
    ],
)
def test_where_ask_may_be(written: str, asks: str) -> None:
    url = AskUrl.parse(written)
    assert url.asking("a.b") == asks
    assert url.socket == ("/run/app.sock" if written.startswith("unix:") else None)
    assert "token" not in str(url)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("http://example.com/check", "write https://example.com/"),
        ("http://0.0.0.0/", "only for this machine"),
        ("http://localhost.example.com/", "only for this machine"),
        ("http://user:secret@127.0.0.1/", "no user and password"),
        ("https://user@example.com/", "no user and password"),
        ("https://example.com/#top", "must have no #"),
        ("ftp://example.com", "must be a URL"),
        ("https://", "must be a URL"),
        ("https://exa mple.com/", "must be a URL"),
        ("https://example.com:99999/", "is not a URL"),
        ("unix:app.sock", "a unix socket is written"),
        ("unix:/run/app.sock:check", "a unix socket is written"),
        ("", "must be a URL"),
        (9000, "must be a URL"),
        (["https://example.com/"], "must be a URL"),
    ],
)
def test_where_ask_may_not_be(written: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AskUrl.parse(written)
