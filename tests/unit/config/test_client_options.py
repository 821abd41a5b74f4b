"""What a host makes of certificates of clients: forms and mistakes."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from proxyd.config.client_options import client_mistakes, client_mistakes_of_all
from proxyd.config.document import ConfigError
from proxyd.config.host import HostOptions
from proxyd.config.load import parse


def host(*, headers: dict[str, str] | None = None, **tls: object) -> HostOptions:
    request = {"set": headers or {}}
    return HostOptions.model_validate({"upstream": 80, "tls": tls, "headers": {"request": request}})


def test_rules() -> None:
    written = [{"san": "a.example.com"}, {"subject": "CN=alice"}, {"fingerprint": "AB:" * 31 + "AB"}]
    options = host(client_ca="ca.pem", client_allow=written)
    assert [one.rule().kind for one in options.tls.client_allow] == ["san", "subject", "fingerprint"]
    assert options.tls.client_ca == Path("ca.pem")


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ("client_allow: [{}]", "f:2:52: hosts.example.com.tls.client_allow[0]: must be one of {san: V}"),
        ("client_allow: [{san: a.example, subject: CN=a}]", "must be one of {san: V}, {subject: V}, {fingerprint: V}"),
        ("client_allow: [{subject: alice}]", "tls.client_allow[0].subject: must be a name like CN=alice"),
        ("client_allow: [{fingerprint: abcd}]", "must be the SHA-256 of the certificate"),
        ("client_allow: [{sna: a}]", "unknown key: did you mean san?"),
        ("client_headers: {X-Client: name}", "must be 'subject', 'issuer', 'serial', 'san', 'fingerprint'"),
        ("client_headers: {Client-Cert: subject}", "Client-Cert is for proxyd to say"),
        ("client_headers: {Content-Length: subject}", "is about one connection or the length of a message"),
        ("client_headers: {Host: subject}", "Host cannot be changed here"),
        ("client_headers: {'X Client': subject}", "must be the name of a header field"),
        ("client_headers: {X-Client: subject, x_client: san}", "X-Client and x_client are one field"),
        ("client_allow: [{san: a.example}]", "client_allow: needs client_ca: without it no client is asked"),
        ("client_headers: {X-Client: subject}", "client_headers: needs client_ca"),
    ],
)
def test_mistakes(tls: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"hosts:\n  example.com: {{upstream: 80, tls: {{{tls}}}}}\n", "f")
    assert message in str(caught.value)


def test_what_is_never_asked_for() -> None:
    options = host(client_ca="ca.pem", client_auth="none", client_headers={"X-Client": "subject"})
    assert [message for _, message in client_mistakes(options, HostOptions())] == [
        "needs client_auth: require or optional; none asks no client for a certificate"
    ]


def test_what_is_told_twice() -> None:
    headers = {"client_headers": {"X-Client": "subject"}}
    assert not [*client_mistakes(host(client_ca="ca.pem", headers={"X-Other": "1"}, **headers), HostOptions())]
    twice = host(client_ca="ca.pem", headers={"X_Client": "1"}, **headers)
    ((place, message),) = client_mistakes(twice, HostOptions())
    assert place == ("headers", "request", "set", "X_Client")
    assert "remove one of them" in message


def test_the_defaults_are_for_those_hosts_that_ask_for_certificates() -> None:
    defaults = host(client_headers={"X-Client": "subject"})
    assert not [*client_mistakes(defaults, defaults)]
    asks = host(client_ca="ca.pem", client_headers={"X-Client": "subject"})
    assert not [*client_mistakes_of_all(defaults, [defaults, asks])]
    ((place, message),) = client_mistakes_of_all(defaults, [defaults])
    assert place == ("defaults", "tls", "client_headers")
    assert message.startswith("needs client_ca")


def test_a_field_that_is_none() -> None:
    with pytest.raises(ValidationError):
        host(client_ca="ca.pem", client_headers={"X-Client": ["subject"]})
