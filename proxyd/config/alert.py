"""Where to say that a person is needed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, ValidationInfo, WithJsonSchema, model_validator

from proxyd.config.option import Options, option
from proxyd.config.program import Program
from proxyd.config.values import File, HiddenValueError, Secret, Wait, as_list, is_reference, read_secret
from proxyd.core.hostname import Hostname, InvalidHostname

ChannelKind = Literal["webhook", "exec", "mail", "heartbeat"]
#: Which channels an option is for.
_OWNERS: Mapping[str, tuple[ChannelKind, ...]] = {
    "secret": ("webhook",),
    "timeout": ("exec",),
    "interval": ("heartbeat",),
    "ca": ("webhook", "heartbeat"),
}
_PORTS = {"smtp": 587, "smtps": 465}
_SMTP = "must be smtp://USER@HOST:587 (STARTTLS) or smtps://USER@HOST:465"
_ADDRESS = re.compile(r"[^\s@<>,;:\"\\()\[\]]+@[^\s@<>,;:\"\\()]+")


def _read_url(written: object, info: ValidationInfo) -> object:
    """The path of such a URL is a secret more often than not, so that no message shows it."""
    text = read_secret(written, info)
    if not isinstance(text, str) or (text == written and is_reference(text)):  # nobody reads it now
        return text
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        host, url = None, urlsplit("")
    if url.scheme not in ("http", "https") or not host or any(not "!" <= char <= "~" for char in text):
        raise HiddenValueError("must be a URL, like https://alerts.example.com/proxyd")
    if url.username is not None:
        raise HiddenValueError("must have no user and password in it: a token goes into the path or the query")
    if url.scheme == "http" and _is_public(host):
        raise HiddenValueError(
            f"http:// is only for your own networks, everybody on the way can read it: use https://{host}/…"
        )
    return text


def _is_public(host: str) -> bool:
    try:
        return Hostname.parse(host).is_public
    except InvalidHostname:
        return True


def _read_address(written: object) -> str:
    if not isinstance(written, str) or not _ADDRESS.fullmatch(written):
        raise ValueError("must be a mail address, like admin@example.com")
    return written


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. `is_implicit`: TLS from the first byte on."""

    host: str
    port: int
    user: str | None
    is_implicit: bool

    @classmethod
    def parse(cls, written: object) -> "MailServer":
        """Return `smtp://USER@HOST:587` or `smtps://USER@HOST:465`. Raises ValueError that says what to write."""
        if isinstance(written, MailServer):
            return written
        text = written.strip() if isinstance(written, str) else ""
        try:
            url = urlsplit(text)
            host, port, password = url.hostname, url.port, url.password
        except ValueError:  # whose text has a part of it
            raise HiddenValueError(f"is not a URL: it {_SMTP}") from None
        if url.scheme not in _PORTS or not host or url.path not in ("", "/") or url.query or port == 0:
            raise HiddenValueError(_SMTP)
        if password is not None:
            message = "must have no password in it: give it as password, which may be ${ENV_NAME} or file:/path"
            raise HiddenValueError(message)
        user = unquote(url.username) if url.username else None
        return cls(host, port or _PORTS[url.scheme], user, url.scheme == "smtps")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"{'smtps' if self.is_implicit else 'smtp'}://{user}{host}:{self.port}"


_Address = Annotated[str, BeforeValidator(_read_address)]
_SecretUrl = Annotated[SecretStr, BeforeValidator(_read_url)]


class MailOptions(Options):
    """By mail, through the server of your provider or one on this machine."""

    to: Annotated[tuple[_Address, ...], BeforeValidator(as_list), Field(min_length=1)] = option(
        doc="who gets it", sample=["admin@example.com"]
    )
    sender: _Address = Field(alias="from", description="who it comes from", examples=["proxyd@example.com"])
    server: Annotated[
        MailServer,
        BeforeValidator(MailServer.parse),
        PlainSerializer(str, return_type=str),
        WithJsonSchema({"type": "string", "examples": ["smtp://USER@HOST:587", "smtps://USER@HOST:465"]}),
    ] = option(
        doc="smtp://USER@HOST:587 (STARTTLS) or smtps://USER@HOST:465; without USER: no login",
        sample="smtp://alerts@mail.example.com:587",
    )
    password: Secret | None = option(None, "of USER", sample="${SMTP_PASSWORD}")
    ca: File | None = option(None, "PEM that the server is verified against; null: the CAs of this machine")

    @model_validator(mode="after")
    def _has_both(self) -> "MailOptions":
        if self.password is not None and self.server.user is None:
            raise ValueError("password needs a user: write server: smtp://USER@HOST:587")
        if self.password is None and self.server.user is not None:
            raise ValueError(f"the user {self.server.user} needs a password, or remove the user from server")
        return self


class AlertOptions(Options):
    """One channel: `webhook`, `exec`, `mail` or `heartbeat`."""

    webhook: _SecretUrl | None = option(
        None, "URL that gets a POST with JSON", sample="https://alerts.example.com/proxyd"
    )
    secret: Secret | None = option(None, "of webhook: signs what is sent (HMAC-SHA256)")
    exec: Program | None = option(None, "[CMD, ARG…], JSON on stdin; no shell")
    timeout: Wait = option("30s", "of exec: after it the program is killed")
    mail: MailOptions | None = option(None, '{to: [A], from: A, server: "smtp://USER@HOST:587", password: S}')
    heartbeat: _SecretUrl | None = option(None, "URL that is asked while all is well with the daemon")
    interval: Wait = option("1h", "of heartbeat: between two of them")
    ca: File | None = option(None, "of webhook and heartbeat: PEM that an https server is verified against")

    @model_validator(mode="after")
    def _is_one(self) -> "AlertOptions":
        kinds: list[ChannelKind] = ["webhook", "exec", "mail", "heartbeat"]
        chosen = [one for one in kinds if getattr(self, one) is not None]
        if len(chosen) != 1:
            has = f"not {' and '.join(chosen)}: make a list item of each" if chosen else "write what it is"
            raise ValueError(f"must have one of webhook, exec, mail and heartbeat; {has}")
        for key, of in _OWNERS.items():
            if key in self.model_fields_set and chosen[0] not in of:
                where = "; that of a mail server goes under mail" if (key, chosen[0]) == ("ca", "mail") else ""
                raise ValueError(f"{key} is for {' and '.join(of)} only: remove it{where}")
        if self.heartbeat is not None and self.interval < timedelta(seconds=1):
            raise ValueError("interval must be 1s or more")
        return self

    @property
    def kind(self) -> ChannelKind:
        """Return which channel it is."""
        if self.webhook is not None:
            return "webhook"
        if self.exec is not None:
            return "exec"
        return "mail" if self.mail is not None else "heartbeat"

    @property
    def shown(self) -> str:
        """Return it as messages name it, without anything secret."""
        if self.exec is not None:
            return f"exec {self.exec[0]}"
        if self.mail is not None:
            return f"mail to {', '.join(self.mail.to)} by {self.mail.server.host}:{self.mail.server.port}"
        url = self.webhook or self.heartbeat
        assert url is not None
        text = url.get_secret_value()
        return f"{self.kind} {text if is_reference(text) else urlsplit(text).netloc}"
