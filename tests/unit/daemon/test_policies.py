"""From the options of hosts to their policies, while files come and go."""

import logging
from pathlib import Path

import pytest

from proxyd.config.load import parse
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.tls_policy import TlsPolicy
from proxyd.daemon.policies import Policies
from tests.support.client_certificates import ClientCa

ONE, TWO = Hostname("one.example.com"), Hostname("two.example.com")
_HOSTS = """
hosts:
  one.example.com: {{upstream: 80, tls: {{client_ca: {ca}, client_auth: {auth}, min_version: "{floor}"{more}}}}}
  two.example.com: 81
"""


def config(ca: Path, auth: str = "require", floor: str = "1.2", more: str = "") -> str:
    return _HOSTS.format(ca=ca, auth=auth, floor=floor, more=more)


@pytest.fixture
def ca(tmp_path: Path) -> ClientCa:
    return ClientCa(tmp_path)


def test_a_policy_has_what_matters_in_the_files(ca: ClientCa, tmp_path: Path) -> None:
    file = tmp_path / "with words.pem"
    file.write_text(
        "Subject: Müller\n" + ca.file.read_text() + "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"
    )
    crl = ca.revoke()
    found = Policies().of(parse(config(file, "optional", "1.3", f", client_crl: {crl}"), "f"))
    policy = found[ONE]
    assert policy == TlsPolicy(
        http2=True,
        min_version="1.3",
        client_auth="optional",
        client_ca=ca.file.read_bytes(),
        client_crl=crl.read_bytes(),
    )
    assert policy.asks
    assert found[TWO] == TlsPolicy(http2=True)
    assert not found[TWO].asks
    assert Policies().of(parse(config(file, "none"), "f"))[ONE] == TlsPolicy(http2=True)


def test_hosts_that_say_the_same_share_an_object(ca: ClientCa) -> None:
    text = f"defaults: {{tls: {{client_ca: {ca.file}}}}}\nhosts: {{one.example.com: 80, two.example.com: 81, "
    text += '"*.a.example.com": {upstream: 82, acme: {on_demand: {ask: "http://127.0.0.1:1/"}}}}'
    found = Policies().of(parse(text, "f"))
    assert found[ONE] is found[TWO] is found[HostPattern("*.a.example.com")]


def test_a_file_that_breaks_holds_on_for_its_host(
    ca: ClientCa, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, policies = tmp_path / "ca.pem", Policies()
    file.write_bytes(ca.file.read_bytes())
    good = policies.of(parse(config(file), "f"))[ONE]
    file.unlink()
    for _ in range(2):
        assert policies.of(parse(config(file), "f"))[ONE] == good
    stricter = policies.of(parse(config(tmp_path / "other.pem", floor="1.3"), "f"))[ONE]
    assert (stricter.client_ca, stricter.min_version) == (good.client_ca, "1.3")
    assert policies.of(parse(config(file, "none"), "f"))[ONE] == TlsPolicy(http2=True)
    broken = policies.of(parse(config(file), "f"))[ONE]
    assert broken.is_broken
    assert not broken.asks
    (record,) = caplog.records[-1:]
    assert record.levelno == logging.ERROR
    told = vars(record)
    assert (told["host"], told["file"], told["then"]) == (ONE.text, file, "every request for it is answered 503")
    assert "No such file" in str(told["reason"])


def test_a_list_that_is_new_and_broken_is_no_policy_without_it(ca: ClientCa, tmp_path: Path) -> None:
    policies = Policies()
    assert policies.of(parse(config(ca.file), "f"))[ONE].asks
    assert policies.of(parse(config(ca.file, more=f", client_crl: {tmp_path / 'none.pem'}"), "f"))[ONE].is_broken


def test_a_file_of_many_hosts_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hosts = ", ".join(f"h{number}.example.com: 80" for number in range(5))
    Policies().of(parse(f"defaults: {{tls: {{client_ca: {tmp_path / 'none.pem'}}}}}\nhosts: {{{hosts}}}", "f"))
    (record,) = caplog.records
    assert vars(record)["host"] == "h0.example.com, h1.example.com, h2.example.com and 2 more"
