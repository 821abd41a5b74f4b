"""Webhooks at real HTTP servers."""

import hashlib
import hmac
import json
import re
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from proxyd.admin.alert_channel import ChannelError
from proxyd.admin.webhook_channel import WebhookChannel
from proxyd.daemon.system_clock import SystemClock
from tests.support.daemon import ROOT
from tests.support.notices import notice
from tests.support.private_ca import PrivateCa
from tests.support.receiver import receiver


def channel(url: str, *, secret: str | None = None, ca: Path | None = None) -> WebhookChannel:
    given = SecretStr(secret) if secret else None
    return WebhookChannel(SecretStr(url), name="webhook", secret=given, ca=ca, clock=SystemClock())


async def trouble(one: WebhookChannel) -> str:
    with pytest.raises(ChannelError) as caught:
        await one.send(notice())
    return str(caught.value)


async def test_json_that_can_be_verified() -> None:
    with receiver() as server:
        await channel(server.url, secret="s3cret").send(notice())
        await channel(server.url).send(notice())
    signed, unsigned = server.received
    assert (signed.method, signed.path) == ("POST", "/a/path")
    assert signed.json == json.loads(json.dumps(notice().to_document()))
    timestamp = signed.headers["X-Proxyd-Timestamp"]
    assert abs(int(timestamp) - datetime.now(UTC).timestamp()) < 60
    expected = hmac.new(b"s3cret", f"{timestamp}.".encode() + signed.body, hashlib.sha256).hexdigest()
    assert signed.headers["X-Proxyd-Signature"] == f"sha256={expected}"
    assert signed.headers["X-Proxyd-Notice"] == unsigned.headers["X-Proxyd-Notice"] == notice().id
    assert "X-Proxyd-Signature" not in unsigned.headers
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "alerts.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec("\n".join(shown), names)
    assert names["is_from_proxyd"](b"s3cret", signed.headers, signed.body)
    assert not names["is_from_proxyd"](b"other", signed.headers, signed.body)
    assert not names["is_from_proxyd"](b"s3cret", signed.headers, signed.body + b" ")


async def test_what_goes_wrong_is_said_without_the_path() -> None:
    with receiver() as server:
        server.statuses += [500, 302]
        failed, redirected = await trouble(channel(server.url)), await trouble(channel(server.url))
        url = server.url
    assert "answered 500" in failed
    assert "redirects are not followed" in redirected
    gone = await trouble(channel(url))
    assert "Connection refused" in gone
    assert not any("/a/path" in one for one in (failed, redirected, gone))


async def test_tls_is_verified_by_the_given_ca(tmp_path: Path) -> None:
    ca, other = PrivateCa(tmp_path), PrivateCa(tmp_path, "Other CA")
    with receiver(tls=ca.server("127.0.0.1")) as server:
        url = server.url.replace("http:", "https:")
        await channel(url, ca=ca.root).send(notice())
        assert "not trusted" in await trouble(channel(url, ca=other.root))
        assert "not trusted" in await trouble(channel(url))
        assert "cannot be read" in await trouble(channel(url, ca=tmp_path / "none.pem"))
    assert len(server.received) == 1


async def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.admin.http_call._SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "no answer within" in await trouble(channel(f"http://127.0.0.1:{silent.getsockname()[1]}/"))
