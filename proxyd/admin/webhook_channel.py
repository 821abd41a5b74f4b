"""Notices as JSON to a URL, signed where there is a secret."""

import hashlib
import hmac
import json
from pathlib import Path

from pydantic import SecretStr

from proxyd.admin.http_call import call
from proxyd.core.clock import Clock
from proxyd.core.notice import Notice


class WebhookChannel:
    """Implements AlertChannel: POST, 2xx is taken."""

    kind = "webhook"

    def __init__(self, url: SecretStr, *, name: str, secret: SecretStr | None, ca: Path | None, clock: Clock) -> None:
        self.name = name
        self._url = url
        self._secret = secret
        self._ca = ca
        self._clock = clock

    async def send(self, notice: Notice) -> None:
        body = json.dumps(notice.to_document(), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "X-Proxyd-Notice": notice.id}
        if self._secret is not None:
            moment = str(int(self._clock.now().timestamp()))
            headers["X-Proxyd-Timestamp"] = moment
            headers["X-Proxyd-Signature"] = signature(self._secret.get_secret_value(), moment, body)
        await call(self._url.get_secret_value(), method="POST", ca=self._ca, body=body, headers=headers)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return `sha256=HEX`: HMAC-SHA256 with the secret over the timestamp, a dot and the body."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
