"""Where a secret may be, what is wrong with one, and that none is shown."""

import json
from pathlib import Path

import pytest
import yaml

from proxyd.config.document import ConfigError
from proxyd.config.load import load, parse
from proxyd.config.model import Config
from proxyd.config.show import HIDDEN, shown

SECRET = "never-in-a-log"


def file_with(tmp_path: Path, written: str) -> Path:
    file = tmp_path / "config.yaml"
    eab = {"kid": "k", "hmac_key": written}
    file.write_text(yaml.safe_dump({"acme": {"server": "zerossl", "eab": eab}, "hosts": {"a.example.com": 80}}))
    return file


def secret(config: Config) -> str:
    assert config.acme.eab is not None
    return config.acme.eab.hmac_key.get_secret_value()


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (SECRET, SECRET),
        ("${A_SECRET}", SECRET),
        ("file:{path}", SECRET),
        ("credential:eab", SECRET),
        ("$$a$$b$c", "$a$b$c"),
        ("$${A_SECRET}", "${A_SECRET}"),
    ],
)
def test_where_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, found: str) -> None:
    monkeypatch.setenv("A_SECRET", SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "eab").write_text(f"{SECRET}\n")
    config = load(file_with(tmp_path, written.replace("{path}", str(tmp_path / "eab"))), serves=True)
    assert secret(config) == found
    for text in (str(config), repr(config), json.dumps(shown(config))):
        assert found not in text
    assert HIDDEN in json.dumps(shown(config))


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "acme.eab.hmac_key: must be a secret in quotes"),
        ("${NOWHERE_SET}", "the environment has no NOWHERE_SET: set it for the service"),
        ("${EMPTY}", "EMPTY is empty in the environment"),
        ("file:/nowhere/at/all", "the secret in /nowhere/at/all cannot be read: No such file or directory"),
        ("file:/dev/null", "the secret in /dev/null is empty"),
        ("credential:none", "systemd passed no credential none: add LoadCredential=none:/path to the unit"),
        ("credential:../x", "systemd passed no credential ../x"),
    ],
)
def test_what_is_wrong_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, says: str) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(ConfigError, match=says):
        load(file_with(tmp_path, written), serves=True)


def test_who_only_looks_needs_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    for written in ("${NOWHERE_SET}", "file:/nowhere/at/all", "credential:none"):
        assert secret(load(file_with(tmp_path, written), reads_bundles=False)) == written
    outside_of_the_service = load(file_with(tmp_path, "credential:none"))
    assert secret(outside_of_the_service) == "credential:none"


def test_nothing_secret_is_shown_wherever_it_is() -> None:
    text = f"""
acme:
  on_demand: {{ask: "https://app.example.com/check?token={SECRET}"}}
  fallback: [{{server: google, eab: {{kid: K, hmac_key: {SECRET}}}}}]
hosts:
  "*.example.com": {{upstream: 80, acme: {{eab: {{kid: K, hmac_key: {SECRET}}}}}}}
"""
    assert SECRET not in json.dumps(shown(parse(text, "f")))
    mail = {"to": ["a@example.com"], "server": f"smtp://me:{SECRET}@mail.example.com:587", "password": SECRET}
    alerts = [{"webhook": f"https://hooks.example.com/{SECRET}", "secret": SECRET}, {"mail": mail}, {"exec": ["true"]}]
    config = parse("hosts: {a.example.com: 80}", "f").model_copy(update={"alerts": tuple(alerts)})
    found = shown(config)
    assert SECRET not in json.dumps(found)
    assert found["alerts"][0] == {"webhook": f"https://hooks.example.com/{HIDDEN}", "secret": HIDDEN}
    assert found["alerts"][1]["mail"]["server"] == f"smtp://me:{HIDDEN}@mail.example.com:587"
    assert found["alerts"][2] == {"exec": ["true"]}


def test_values_of_headers_are_shown_nowhere() -> None:
    rules = f"{{request: {{set: {{Authorization: Bearer {SECRET}}}}}, response: {{set: {{X-Key: {SECRET}}}}}}}"
    found = shown(parse(f"hosts: {{a.example.com: {{upstream: 80, headers: {rules}}}}}", "f"))
    assert SECRET not in json.dumps(found)
    assert found["hosts"]["a.example.com"]["headers"]["request"]["set"] == {"Authorization": HIDDEN}


@pytest.mark.parametrize(
    "text",
    [
        "acme: {server: zerossl, eab: {kid: K, hmac_key: 73461290}}",
        "acme: {server: zerossl, eab: {kid: K, hmac_key: [73461290]}}",
        "acme: {dns: {provider: x, credentials: {token: 73461290}}}",
        'alerts: ["https://hooks.example.com/73461290"]',
        "alerts: [{webhook: 73461290}]",
        "alerts: [{webhook: 'https://hooks.example.com/73461290', secret: 73461290}]",
        "alerts: [{heartbeat: 'https://73461290@uptime.example.com'}]",
        "alerts: [{mail: 'smtp://u:73461290@mail.example.com'}]",
        "alerts: [{mail: {to: a@b.example, from: a@b.example, server: 'smtp+tls://u:73461290@m.example.com'}}]",
        "alerts: [{mail: {to: a@b.example, from: a@b.example, server: 'smtp://u:7346/1290@m.example.com'}}]",
        "alerts: [{mail: {to: a@b.example, from: a@b.example, server: 'smtp://u@m.example.com', password: 73461290}}]",
        "defaults: {headers: {request: {set: {Authorization: [73461290]}}}}",
        'defaults: {headers: {request: {set: {Authorization: "73461290\\n"}}}}',
        "acme: {server: zerossl, eab: 73461290}",
        "acme: {server: 'http://me:73461290@ca.example.com/dir'}",
        "acme: {on_demand: {ask: 'http://app.example.com/check?token=73461290'}}",
        "defaults: {upstream: 'http://me:73461290@10.0.0.1:80'}",
        "defaults: {paths: {/x/: 'http://me:73461290@10.0.0.1:80'}}",
        "alerts: [{mail: {password: *73461290}}]",
    ],
)
def test_no_mistake_shows_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{text}\nhosts: {{token.example.com: 80}}", "f", reads_bundles=True)
    assert "7346" not in str(caught.value)


def test_names_of_hosts_hide_nothing() -> None:
    with pytest.raises(ConfigError, match="written: sometimes"):
        parse("hosts: {token.example.com: {upstream: 80, balance: sometimes}}", "f")
