"""What is written about certificates of clients."""

from pathlib import Path

import pytest

from proxyd.config.client_trust import ClientTrustError, read_trust
from proxyd.config.document import ConfigError
from proxyd.config.load import load, parse
from proxyd.core.hostname import Hostname
from tests.support.client_certificates import ClientCa

HOST = Hostname("a.example.com")
_ONE = "hosts: {{a.example.com: {{upstream: 80, tls: {{{}}}}}}}\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return [one.show("f") for one in caught.value.mistakes]


@pytest.mark.parametrize("auth", ["require", "optional"])
def test_who_is_asked_for_must_be_said_too(auth: str) -> None:
    (mistake,) = mistakes(_ONE.format(f"client_auth: {auth}"))
    assert mistake.startswith("f:1:58: hosts.a.example.com.tls.client_auth: asks for nothing without client_ca: add")
    assert mistake.endswith(f"or remove client_auth: {auth}")
    (mistake,) = mistakes(_ONE.format("client_crl: /x"))
    assert "tls.client_crl: has no effect without client_ca" in mistake
    (mistake,) = mistakes(f"defaults: {{tls: {{client_auth: {auth}}}}}\nhosts: {{a.example.com: 80}}\n")
    assert "defaults.tls.client_auth: asks for nothing" in mistake
    assert mistakes(f"defaults: {{tls: {{client_auth: {auth}}}}}\n" + _ONE.format("client_crl: /x"))


def test_nothing_that_is_said_in_two_places_is_a_mistake() -> None:
    two = _ONE.format("client_ca: /ca.pem").replace(
        "}}}", "}}, b.example.com: {upstream: 80, tls: {min_version: 1.3}}}"
    )
    config = parse("defaults: {tls: {client_auth: optional}}\n" + two, "f")
    assert config.hosts[HOST].tls.client_auth == "optional"
    ours = "defaults: {tls: {client_ca: /ca.pem, client_crl: /crl.pem}}\n" + _ONE.format("client_auth: none")
    assert parse(ours, "f").hosts[HOST].tls.client_auth == "none"
    assert parse(_ONE.format("client_auth: none"), "f").hosts[HOST].tls.client_auth == "none"


def test_the_example_with_its_defaults_is_no_mistake_but_a_warning() -> None:
    config = parse(_ONE.format("client_ca: null, client_auth: require"), "f")
    (warning,) = config.warnings
    assert "tls.client_ca: warning: is null, so that clients are asked for no certificate" in warning
    assert mistakes(_ONE.format("client_ca: null, client_auth: optional"))


def test_files_are_looked_at_once_and_borne_by_who_serves(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "defaults: {tls: {client_ca: /nowhere/ca.pem}}\nhosts: {a.example.com: 80, b.example.com: 80, "
        "c.example.com: {upstream: 80, tls: {client_crl: /nowhere/crl.pem}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    places = [one.location for one in caught.value.mistakes]
    assert places == ["defaults.tls.client_ca", "hosts.c.example.com.tls.client_crl"]
    warnings = load(file, serves=True).warnings
    assert ["/nowhere/ca.pem cannot be used (No such file or directory): it must have" in one for one in warnings] == [
        True,
        False,
    ]
    assert load(file, reads_bundles=False).warnings == ()


def test_what_matters_in_a_file_is_kept(tmp_path: Path) -> None:
    ca, file = ClientCa(tmp_path), tmp_path / "both.pem"
    crl = ca.revoke(ca.client())
    file.write_bytes("für\r\n".encode() + ca.file.read_bytes().replace(b"\n", b"\r\n") + crl.read_bytes())
    assert read_trust("client_ca", file).split() == ca.file.read_bytes().split()
    assert read_trust("client_crl", file) == crl.read_bytes()
    for content, says in (
        (b"", "it is empty"),
        (b"\x30\x82DER", "no revocation list is in it"),
        (ca.file.read_bytes(), "no revocation list is in it"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", "cannot be used ("),
    ):
        file.write_bytes(content)
        with pytest.raises(ClientTrustError, match="revocation list in it, in PEM") as caught:
            read_trust("client_crl", file)
        assert says in str(caught.value)
    with pytest.raises(ClientTrustError, match="Is a directory"):
        read_trust("client_ca", tmp_path)
