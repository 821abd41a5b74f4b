"""Notices by mail."""

import asyncio
import email.utils
import socket
import ssl
from email.message import EmailMessage

import aiosmtplib

from proxyd.admin.alert_channel import ChannelError, reason_of
from proxyd.admin.http_call import trusting
from proxyd.config.alert import MailOptions
from proxyd.core.networks import is_loopback
from proxyd.core.notice import Notice

_STEP_SECONDS, _SECONDS = 10.0, 30.0


class MailChannel:
    """Implements AlertChannel. Encrypted and verified, unless the server is this machine and no `ca` is set."""

    kind = "mail"

    def __init__(self, options: MailOptions, *, name: str) -> None:
        self.name = name
        self._options = options

    async def send(self, notice: Notice) -> None:
        server = self._options.server
        try:
            async with asyncio.timeout(_SECONDS):
                await self._hand_in(self._message(notice))
        except (TimeoutError, aiosmtplib.SMTPTimeoutError):
            raise ChannelError(
                f"{server} did not answer in time: is it up, does a firewall drop port {server.port}?"
            ) from None
        except aiosmtplib.SMTPAuthenticationError as error:
            raise ChannelError(f"{server} refuses user and password ({_said(error)}): correct them") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = "; ".join(f"{one.recipient}: {_said(one)}" for one in error.recipients)
            raise ChannelError(f"{server} does not take the mail ({refused})") from None
        except aiosmtplib.SMTPResponseException as error:
            raise ChannelError(f"{server} does not take the mail ({_said(error)})") from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise ChannelError(f"{server} cannot be used: {_reason(error)}") from None

    async def _hand_in(self, message: EmailMessage) -> None:
        options, server = self._options, self._options.server
        starts_tls = not server.is_implicit and (options.ca is not None or not is_loopback(server.host))
        trust = await asyncio.to_thread(trusting, options.ca) if server.is_implicit or starts_tls else None
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.is_implicit,
            start_tls=starts_tls,
            tls_context=trust,
            timeout=_STEP_SECONDS,
            local_hostname=socket.gethostname() or "localhost",
        )
        async with client:
            if server.user is not None and options.password is not None:
                await client.login(server.user, options.password.get_secret_value())
            await client.send_message(message)

    def _message(self, notice: Notice) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"] = self._options.sender, ", ".join(self._options.to)
        level = "" if notice.event != "problem" else f" {notice.urgency.severity}:"
        message["Subject"] = f"[proxyd {notice.server}]{level} {notice.summary}"[:200]
        message["Date"] = email.utils.format_datetime(notice.at)
        domain = self._options.sender.rpartition("@")[2]
        message["Message-ID"] = f"<{notice.id}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers of absent people
        message.set_content(notice.text + "\n")
        return message


def _said(error: aiosmtplib.SMTPResponseException) -> str:
    text = "".join(char if char.isprintable() else " " for char in str(error.message))
    return f"{error.code} {text[:200]}"


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message}); for a private CA set mail.ca"
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno:
            return reason_of(cause)
        cause = cause.__cause__ or cause.__context__
    text = "".join(char if char.isprintable() else " " for char in str(error)[:200])
    return f"{text} (type {type(error).__name__})" if not text.strip() else text
