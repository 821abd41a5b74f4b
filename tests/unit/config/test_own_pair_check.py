"""Where it is said what is wrong with certificates of the operator's own."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from proxyd.config.document import ConfigError
from proxyd.config.load import parse
from proxyd.core.hostname import Hostname


def broken(cert: Path, _key: Path | None, _hosts: Iterable[Hostname]) -> Iterable[tuple[str, str, bool]]:
    yield "cert", f"{cert}: broken", True
    yield "key", f"{cert}: its key", True


def odd(cert: Path, _key: Path | None, hosts: Iterable[Hostname]) -> Iterable[tuple[str, str, bool]]:
    yield "cert", f"{cert}: odd for {', '.join(map(str, hosts))}", False


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", judge=broken)
    return str(caught.value).splitlines()


def test_each_has_its_place() -> None:
    text = (
        "hosts:\n"
        "  a.example.com: {upstream: 1, tls: {cert: /a, key: /k}}\n"
        "  b.example.com: {upstream: 1, tls: {cert: /b}}\n"
        "  c.example.com: 1\n"
    )
    assert mistakes(text) == [
        "f:2:44: hosts.a.example.com.tls.cert: /a: broken",
        "f:2:53: hosts.a.example.com.tls.key: /a: its key",
        "f:3:44: hosts.b.example.com.tls.cert: /b: broken",
        "f:3:44: hosts.b.example.com.tls.cert: /b: its key",
    ]


def test_what_many_hosts_have_in_common_is_said_once() -> None:
    text = "defaults: {tls: {cert: /a}}\nhosts: {a.example.com: 1, b.example.com: 1}\n"
    assert mistakes(text) == [
        "f:1:24: defaults.tls.cert: /a: broken",
        "f:1:24: defaults.tls.cert: /a: its key",
    ]


def test_what_is_worth_a_look_is_a_warning() -> None:
    text = "hosts:\n  a.example.com: {upstream: 1, aliases: [b.example.com], tls: {cert: /a}, export: {dir: /e}}\n"
    assert parse(text, "f", judge=odd).warnings == (
        "f:2:83: hosts.a.example.com.export: warning: has no effect: it is for certificates that proxyd obtains, and "
        "this host has one of your own",
        "f:2:70: hosts.a.example.com.tls.cert: warning: /a: odd for a.example.com, b.example.com",
    )


def test_a_host_takes_itself_out_of_the_defaults_or_has_both_in_one_file() -> None:
    text = (
        "defaults: {tls: {cert: /a, key: /k}}\n"
        "hosts:\n"
        "  a.example.com: 1\n"
        "  b.example.com: {upstream: 1, tls: {cert: null}}\n"
        "  c.example.com: {upstream: 1, tls: {cert: /c}}\n"
    )
    config = parse(text, "f")
    assert config.own_certificates == {
        Hostname("a.example.com"): (Path("/a"), Path("/k")),
        Hostname("c.example.com"): (Path("/c"), None),
    }
    assert [*config.certificate_hosts] == [Hostname("b.example.com")]


@pytest.mark.parametrize(
    ("tls", "says"),
    [
        ("{key: /k}", "tls: key needs cert, the file of the certificate that it belongs to"),
        ("{cert: [a]}", "tls.cert"),
    ],
)
def test_what_cannot_be_meant(tls: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(f"hosts: {{a.example.com: {{upstream: 1, tls: {tls}}}}}", "f")


def test_wildcard_hosts_cannot_have_one_yet() -> None:
    text = 'hosts: {"*.a.example.com": {upstream: 1, tls: {cert: /c}, acme: {on_demand: {ask: "http://127.0.0.1/"}}}}'
    with pytest.raises(ConfigError, match="a certificate of your own is for names that are listed in this version"):
        parse(text, "f")


def test_names_that_no_public_ca_certifies_may_have_one() -> None:
    assert parse("hosts: {app.internal: {upstream: 1, tls: {cert: /c}}}", "f").own_certificates
