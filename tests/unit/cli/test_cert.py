"""`proxyd cert` on files: what it says, what it makes, how it ends."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from proxyd.cli.main import cli
from proxyd.config.load import parse
from tests.support.documents import run as run_block
from tests.support.documents import snippet
from tests.support.fake_ca_authority import name
from tests.support.own_files import TestCa, put

CA = TestCa()
ONE = CA.issue("a.example.test")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["cert", *map(str, arguments)])


def test_a_pair_for_tests_is_what_check_takes(tmp_path: Path) -> None:
    out = tmp_path / "tls"
    made = run("self-signed", "--host", "localhost", "--host", "127.0.0.1", "::1", "*.app.test", "--out", out)
    assert made.exit_code == 0, made.output
    certificate, key = out / "localhost.crt", out / "localhost.key"
    assert f"# {certificate}: for localhost, 127.0.0.1, ::1, *.app.test; valid until " in made.stdout
    assert key.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in out.iterdir()) == ["localhost.crt", "localhost.key"]
    config = tmp_path / "config.yaml"
    config.write_text(made.stdout)
    checked = CliRunner().invoke(cli, ["check", "-c", str(config)])
    assert checked.exit_code == 0, checked.output
    assert "self-signed" in checked.stderr
    shown = run("show", certificate, "--key", key, "--name", "x.app.test")
    assert shown.exit_code == 0
    assert "names        localhost, 127.0.0.1, ::1, *.app.test" in shown.stdout
    assert "key file     belongs to the certificate" in shown.stdout
    assert "(expires in 23 h)" in shown.stdout


def test_the_document_s_commands(tmp_path: Path) -> None:
    own, made = (snippet("own-certificates.md", part) for part in ("cert show /etc", "self-signed"))
    ONE.put(tmp_path / "example.com.crt", tmp_path / "example.com.key")
    program = f"{sys.executable} -m proxyd"
    assert "Nothing is wrong with it." in run_block(
        own, {"proxyd cert": f"{program} cert", "/etc/proxyd/tls": tmp_path}
    )
    run_block(made, {"proxyd cert": f"{program} cert", "/etc/proxyd/tls": tmp_path})
    assert (tmp_path / "localhost.key").exists()


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    wanted = "self-signed", "--host", "a.test", "--out", tmp_path
    (tmp_path / "a.test.key").write_text("precious")
    refused = run(*wanted)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"{tmp_path / 'a.test.key'} exists: name another directory with --out, or replace")
    assert (tmp_path / "a.test.key").read_text() == "precious"
    assert not (tmp_path / "a.test.crt").exists()
    assert run(*wanted, "--force").exit_code == 0
    assert "PRIVATE KEY" in (tmp_path / "a.test.key").read_text()


def test_hosts_that_are_none_and_places_that_cannot_be_written(tmp_path: Path) -> None:
    wrong = run("self-signed", "--host", "https://a.test/")
    assert (wrong.exit_code, "is a URL, not a host name" in wrong.stderr) == (2, True)
    (tmp_path / "file").write_text("")
    wrong = run("self-signed", "--host", "a.test", "--out", tmp_path / "file" / "below")
    assert (wrong.exit_code, "cannot be written (Not a directory)" in wrong.stderr) == (2, True)


def test_a_file_for_scripts(tmp_path: Path) -> None:
    file = put(tmp_path / "chain.pem", ONE.chain + ONE.key)
    shown = run("show", file, "--json")
    document = json.loads(shown.stdout)
    assert shown.exit_code == 0
    assert document["ok"]
    told = document["certificate"]
    assert (told["names"], told["serial"], told["key_matches"]) == (["a.example.test"], ONE.serial, True)
    der = put(tmp_path / "cert.der", ONE.der)
    shown = run("show", der, "--json")
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["wrong"][0].startswith("leaf only")


def test_keys_and_requests(tmp_path: Path) -> None:
    key = put(tmp_path / "a.key", ONE.key)
    assert "a private key: EC, P-256" in run("show", key).stdout
    other = put(tmp_path / "b.key", CA.issue("a.test").key)
    shown = run("show", key, "--key", other)
    assert (shown.exit_code, "Wrong: it is another key than that of --key" in shown.stdout) == (1, True)
    request = x509.CertificateSigningRequestBuilder().subject_name(name("a")).sign(ONE.private, hashes.SHA256())
    file = put(tmp_path / "a.csr", request.public_bytes(serialization.Encoding.PEM))
    assert "a certificate signing request: a CA makes a certificate of it" in run("show", file).stdout
    secret = serialization.BestAvailableEncryption(b"secret")
    locked = ONE.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    shown = run("show", put(tmp_path / "locked.key", locked))
    assert (shown.exit_code, "Wrong: the private key is encrypted" in shown.stdout) == (1, True)
    refused = run("show", key, "--key", tmp_path / "locked.key")
    assert (refused.exit_code, "`openssl pkey -in KEY -out NEW`" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("./gone.pem", "cannot be read (No such file or directory)"),
        ("host:port", "it is no HOST:PORT: the port is a number up to 65535"),
        ("a b", "a file is named by its path"),
    ],
)
def test_what_is_neither_file_nor_server(what: str, says: str) -> None:
    shown = run("show", what)
    assert shown.exit_code == 2
    assert says in shown.stderr
    assert shown.stdout == ""


def test_a_line_to_paste_is_a_configuration(tmp_path: Path) -> None:
    made = run("self-signed", "--host", "*.app.test", "--out", tmp_path)
    (host,) = parse(made.stdout, "f").hosts
    assert str(host) == "app.example.test"
    assert (tmp_path / "_wildcard.app.test.key").exists()
