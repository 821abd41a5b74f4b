"""Mail at a real SMTP server."""

import socket
from pathlib import Path

import pytest

from proxyd.admin.alert_channel import ChannelError
from proxyd.admin.mail_channel import MailChannel
from proxyd.config.alert import MailOptions
from tests.support.notices import notice
from tests.support.private_ca import PrivateCa
from tests.support.smtp_server import PASSWORD, USER, smtp_server


def channel(server: str, **more: object) -> MailChannel:
    written = {"to": ["a@example.com", "b@example.com"], "from": "proxyd@example.com", "server": server, **more}
    return MailChannel(MailOptions.model_validate(written), name="mail")


async def trouble(one: MailChannel) -> str:
    with pytest.raises(ChannelError) as caught:
        await one.send(notice())
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


async def test_starttls_login_and_a_mail_that_people_can_read(tmp_path: Path) -> None:
    ca = PrivateCa(tmp_path)
    with smtp_server(tls=ca.server("127.0.0.1"), needs_login=True) as box:
        await channel(f"smtp://{USER}@127.0.0.1:{box.port}", password=PASSWORD, ca=str(ca.root)).send(notice())
    (mail,) = box.mails
    assert box.encrypted == [True]
    assert box.logins == [USER.encode()]
    assert mail["To"] == "a@example.com, b@example.com"
    assert mail["From"] == "proxyd@example.com"
    assert mail["Subject"] == ("[proxyd machine] critical: example.com: no new certificate, a tenth of its life left")
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    assert "example.com: the DNS points elsewhere, to 192.0.2.1" in text
    assert "Runs out of road at 2026-06-10 12:00 UTC" in text


async def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    ca = PrivateCa(tmp_path)
    with smtp_server(tls=ca.server("127.0.0.1"), is_implicit=True, needs_login=True) as box:
        await channel(f"smtps://{USER}@127.0.0.1:{box.port}", password=PASSWORD, ca=str(ca.root)).send(notice())
    assert len(box.mails) == len(box.logins) == 1


async def test_the_server_of_this_machine_needs_no_tls() -> None:
    with smtp_server() as box:
        await channel(f"smtp://127.0.0.1:{box.port}").send(notice())
    assert box.encrypted == [False]


async def test_what_goes_wrong_is_said(tmp_path: Path) -> None:
    ca, other = PrivateCa(tmp_path), PrivateCa(tmp_path, "Other CA")
    with smtp_server(tls=ca.server("127.0.0.1"), needs_login=True) as box:
        url = f"smtp://{USER}@127.0.0.1:{box.port}"
        assert "not trusted" in await trouble(channel(url, password=PASSWORD, ca=str(other.root)))
        assert "refuses user and password (535" in await trouble(channel(url, password="wrong", ca=str(ca.root)))
        box.refuse = "550 5.7.1 relaying denied"
        refused = await trouble(channel(url, password=PASSWORD, ca=str(ca.root)))
        assert "a@example.com: 550 5.7.1 relaying denied" in refused
    assert "Connection refused" in await trouble(channel(f"smtp://127.0.0.1:{box.port}"))
    with smtp_server() as plain:
        assert "STARTTLS" in await trouble(channel(f"smtp://127.0.0.1:{plain.port}", ca=str(ca.root)))
        assert not plain.mails


async def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.admin.mail_channel._SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "did not answer in time" in await trouble(channel(f"smtp://127.0.0.1:{silent.getsockname()[1]}"))
