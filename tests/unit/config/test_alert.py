"""Alerts and hooks as people write them."""

import json
import re
from pathlib import Path

import pytest

from proxyd.config.document import ConfigError
from proxyd.config.load import parse
from proxyd.config.model import Config

HEAD = "hosts: {example.com: 8080}\nalerts:\n"


def alerts(text: str) -> Config:
    return parse(HEAD + text, "config.yaml", reads_bundles=True)


def mistake(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        alerts(text)
    return str(caught.value)


def test_all_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    (tmp_path / "password").write_text("pa55\n")
    found = alerts(
        "  - {webhook: https://hooks.example.com/T0K3N, secret: '${HOOK_SECRET}'}\n"
        "  - {exec: [/bin/echo, 42]}\n"
        f"  - mail: {{to: a@example.com, from: b@example.com, server: 'smtp://b@example.com@mail.example.com', "
        f"password: 'file:{tmp_path}/password'}}\n"
        "  - {heartbeat: 'http://uptime.internal:3001/push', interval: 5m}\n"
    ).alerts
    webhook, program, mail, _ = found
    assert [one.kind for one in found] == ["webhook", "exec", "mail", "heartbeat"]
    assert webhook.secret is not None
    assert webhook.secret.get_secret_value() == "s3cret"
    assert program.exec == ("/bin/echo", "42")
    assert mail.mail is not None
    assert mail.mail.password is not None
    assert mail.mail.password.get_secret_value() == "pa55"
    assert (mail.mail.server.user, mail.mail.server.port) == ("b@example.com", 587)
    assert [one.shown for one in found] == [
        "webhook hooks.example.com",
        "exec /bin/echo",
        "mail to a@example.com by mail.example.com:587",
        "heartbeat uptime.internal:3001",
    ]
    for text in (repr(found), json.dumps([one.model_dump(mode="json") for one in found])):
        assert "T0K3N" not in text
        assert "s3cret" not in text
        assert "pa55" not in text


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("{}", "must have one of webhook, exec, mail and heartbeat"),
        ("{webhook: 'https://a.example/', exec: [/bin/true]}", "make a list item of each"),
        ("{webook: x}", "did you mean webhook?"),
        ("{webhook: 'http://hooks.example.com/T0K3N'}", "use https://hooks.example.com/"),
        ("{webhook: 'ftp://hooks.example.com/T0K3N'}", "must be a URL"),
        ("{webhook: 'https://u:T0K3N@hooks.example.com/'}", "no user and password"),
        ("{webhook: 'https://a.example/', secret: '${NO_SUCH}'}", "the environment has no NO_SUCH"),
        ("{heartbeat: 'https://a.example/', secret: x}", "secret is for webhook only"),
        ("{exec: mail admin}", "write [mail, admin]"),
        ("{exec: []}", "must be a list of a program"),
        ("{mail: {to: a, from: b@c.example, server: 'smtp://c.example'}}", "must be a mail address"),
        ("{mail: {to: [], from: b@c.example, server: 'smtp://c.example'}}", "at least 1 item"),
        ("{mail: {to: a@c.example, form: b@c.example, server: 'smtp://c.example'}}", "did you mean from?"),
        ("{mail: {to: a@c.example, from: b@c.example, server: c.example}}", "smtp://USER@HOST:587"),
        ("{mail: {to: a@c.example, from: b@c.example, server: 'smtp://u:T0K3N@c.example'}}", "no password in it"),
        ("{mail: {to: a@c.example, from: b@c.example, server: 'smtp://u@c.example'}}", "needs a password"),
        ("{mail: {to: a@c.example, from: b@c.example, server: 'smtp://c.example', password: x}}", "needs a user"),
        ("{mail: {to: a@c.example, from: b@c.example, server: 'smtp://c.example'}, ca: /x}", "goes under mail"),
        ("{heartbeat: 'https://a.example/', interval: 0.1s}", "1s or more"),
    ],
)
def test_mistakes_say_what_to_write_and_nothing_secret(written: str, says: str) -> None:
    text = mistake(f"  - {written}\n")
    assert text.startswith("config.yaml:3:")
    assert says in text
    assert "T0K3N" not in text


def test_what_the_documents_show_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALERT_SECRET", "x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "smtp-password").write_text("x")
    docs = Path(__file__).parents[3] / "docs"
    (shown,) = re.findall(r"```yaml\n(.*?)```", (docs / "alerts.md").read_text(), re.DOTALL)
    assert len(parse(f"hosts: {{example.com: 8080}}\n{shown}", "alerts.md").alerts) == 4
    (hooks,) = re.findall(r"```yaml\n(.*?)```", (docs / "hooks.md").read_text(), re.DOTALL)
    (options,) = parse(hooks, "hooks.md").hosts.values()
    assert options.export is not None
    assert options.on_renew is not None


def host(text: str) -> Config:
    return parse(f"hosts:\n  example.com:\n    upstream: 8080\n    {text}\n", "config.yaml")


def test_hooks_and_exports() -> None:
    (options,) = host("on_renew: [/bin/true, 1]").hosts.values()
    assert options.on_renew is not None
    assert options.on_renew.run == ("/bin/true", "1")
    (options,) = host("on_renew: {run: [/bin/true], timeout: 5m}").hosts.values()
    assert options.on_renew is not None
    assert options.on_renew.timeout.total_seconds() == 300
    for written in ('"0640"', "0640", "640", '"0o640"'):
        (options,) = host(f"export: {{dir: /etc/tls, group: mail, mode: {written}}}").hosts.values()
        assert options.export is not None
        assert options.export.mode == 0o640


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("on_renew: systemctl reload postfix", "write [systemctl, reload, postfix]"),
        ("on_renew: {command: [x]}", "unknown key"),
        ("export: {dir: tls}", "must be an absolute path"),
        ('export: {dir: /etc/tls, mode: "0644"}', "every user of this machine"),
        ('export: {dir: /etc/tls, mode: "0750"}', "nobody execute"),
        ('export: {dir: /etc/tls, mode: "rw"}', "must be the mode of a file"),
    ],
)
def test_mistakes_in_hooks(written: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        host(written)
    assert says in str(caught.value)
