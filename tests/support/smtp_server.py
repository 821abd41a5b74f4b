"""A real SMTP server (aiosmtpd) in a thread: STARTTLS or TLS, a login, and what it got."""

import contextlib
import email
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from pebble.server import free_port

USER, PASSWORD = "alerts@example.com", "pa55word"


@dataclass
class Mailbox:
    """`refuse`: what is said to each recipient instead of taking it."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[bytes] = field(default_factory=list)
    refuse: str | None = None

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.refuse is not None:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        self.encrypted.append(session.ssl is not None)
        self.mails.append(message)
        return "250 taken"

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login)
        is_right = data.login == USER.encode() and data.password == PASSWORD.encode()
        return AuthResult(success=is_right, handled=is_right)


@contextlib.contextmanager
def smtp_server(
    *, tls: ssl.SSLContext | None = None, is_implicit: bool = False, needs_login: bool = False
) -> Iterator[Mailbox]:
    """Serve until the end of the block; `tls`: by STARTTLS, which it insists on, or `is_implicit`."""
    box = Mailbox(free_port())
    more: dict[str, Any] = {}
    if tls is not None:
        more = {"ssl_context": tls} if is_implicit else {"tls_context": tls, "require_starttls": True}
    if needs_login:
        more |= {
            "authenticator": box.authenticate,
            "auth_required": not is_implicit,
            "auth_require_tls": not is_implicit,
        }
    controller = Controller(box, hostname="127.0.0.1", port=box.port, **more)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
