"""Which CA certifies which host: as it is written, else our own where no public one would."""

import pickle

import pytest

from proxyd.config.document import ConfigError
from proxyd.config.load import parse
from proxyd.config.model import Config
from proxyd.config.show import shown
from proxyd.core.host_pattern import host_or_pattern
from proxyd.core.hostname import Hostname

OWN_CA = "acme: {server: 'https://ca.lan/dir'}\n"


def _servers(config: Config) -> dict[str, str]:
    return {one.text: config.acme_of(one).server for one in config.served}


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("hosts: {localhost: 1, a.com: 2}", {"localhost": "internal", "a.com": "letsencrypt"}),
        ("hosts: {nas: 1, 10.0.0.1: 2}", {"nas": "internal", "10.0.0.1": "internal"}),
        ('hosts: {"*.a.test": 1}', {"*.a.test": "internal"}),
        ("hosts: {a.com: {upstream: 1, aliases: [a.test]}}", {"a.com": "letsencrypt", "a.test": "internal"}),
        ("hosts: {a.com: {upstream: 1, tls: {issuer: internal}}}", {"a.com": "internal"}),
        ("defaults: {tls: {issuer: internal}}\nhosts: {a.com: 1}", {"a.com": "internal"}),
        (
            "defaults: {tls: {issuer: internal}}\nhosts: {a.com: {upstream: 1, tls: {issuer: acme}}}",
            {"a.com": "letsencrypt"},
        ),
        (OWN_CA + "hosts: {localhost: 1}", {"localhost": "https://ca.lan/dir"}),
        (OWN_CA + "hosts: {localhost: {upstream: 1, tls: {issuer: internal}}}", {"localhost": "internal"}),
        (
            "hosts: {a.test: {upstream: 1, acme: {server: 'https://ca.lan/dir'}}, b.test: 1}",
            {"a.test": "https://ca.lan/dir", "b.test": "internal"},
        ),
        ("hosts: {8.8.8.8: {upstream: 1, tls: {issuer: internal}}}", {"8.8.8.8": "internal"}),
    ],
)
def test_who_certifies_what(text: str, servers: dict[str, str]) -> None:
    config = parse(text, "f")
    assert _servers(config) == servers
    assert _servers(pickle.loads(pickle.dumps(config))) == servers  # as workers get it


def test_a_local_name_that_nobody_listed_is_judged_as_its_wildcard_host() -> None:
    config = parse('acme: {on_demand: {ask: "http://127.0.0.1:1/a"}}\nhosts: {"*": 1}', "f")
    assert config.acme_of(host_or_pattern("*")).server == "letsencrypt"
    assert config.acme_of(Hostname("x.test")).server == "letsencrypt"


def test_what_remains_of_acme() -> None:
    text = "acme: {key_type: [p384, rsa2048], email: a@b.com, profile: x, fallback: [{server: zerossl}]}\n"
    acme = parse(text + 'hosts: {a.test: 1, "*.a.test": 1}', "f").acme_of(Hostname("a.test"))
    assert (acme.key_type, acme.challenges, acme.fallback, acme.email) == (("p384", "rsa2048"), (), (), None)
    assert acme.on_demand is not None
    assert (acme.on_demand.ask, acme.on_demand.max_new_per_day) == (None, 1000)


def test_a_wildcard_host_keeps_what_it_says_of_new_names() -> None:
    config = parse('hosts: {"*.a.test": {upstream: 1, acme: {on_demand: {max_new_per_day: 5}}}}', "f")
    rule = config.on_demand_of(next(iter(config.wildcards)))
    assert rule is not None
    assert rule.max_new_per_day == 5


def test_it_is_shown_as_the_file_would_say_it() -> None:
    host = shown(parse("hosts: {a.test: 1}", "f"))["hosts"]["a.test"]
    assert host["tls"]["issuer"] == "internal"
    assert "server" not in host["acme"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("acme: {server: internal}\nhosts: {a.com: 1}", "must be one of letsencrypt"),
        ("hosts: {a.com: {upstream: 1, tls: {issuer: intern}}}", "tls.issuer: must be 'acme' or 'internal'"),
        (
            "hosts: {a.com: {upstream: 1, tls: {issuer: internal, cert: /c, key: /k}}}",
            "cert is a certificate of your own, and issuer: internal makes one: remove one of them",
        ),
        (
            "hosts: {a.com: {upstream: 1, aliases: [a.test], certificate: shared}}",
            "no public CA certifies a.test, and the internal CA is not for a.com: they can share no certificate",
        ),
        ('defaults: {tls: {issuer: internal}}\nhosts: {"*": 1}', "it needs acme.on_demand.ask"),
        ('hosts: {"*.a.test": {upstream: 1, certificate: shared}}', "each gets a certificate of its own"),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse(text, "f")
    assert says in str(found.value)


def test_a_root_that_certifies_all_is_warned_of() -> None:
    warnings = parse("hosts: {nas: 1, nas.internal: 2, a.com: {upstream: 1, tls: {issuer: internal}}}", "f").warnings
    assert [one.split(": ")[3].split(" of ")[0] for one in warnings] == ["nas needs a root", "a.com needs a root"]
