"""Where to ask whether a request may pass."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from proxyd.config.values import UpstreamAddress

_UNIX = "unix:"
_LIKE = "http://127.0.0.1:9091/api/authz/forward-auth"


@dataclass(frozen=True, slots=True)
class AuthUrl:
    """A server, and what it is asked for: path and query."""

    address: UpstreamAddress
    target: str

    @classmethod
    def parse(cls, written: object) -> "AuthUrl":
        """Return an http or https URL, `unix:/path.sock` or `unix:/path.sock:/auth`. Raises ValueError."""
        if isinstance(written, AuthUrl):
            return written
        text = written.strip() if isinstance(written, str) else ""
        if any(not "!" <= char <= "~" for char in text):
            raise ValueError("must be a URL of ASCII characters, others percent-encoded")
        if text.startswith(_UNIX):
            path, _, target = text.removeprefix(_UNIX).partition(":")
            if target and not target.startswith("/"):
                raise ValueError("a unix socket is written unix:/run/auth.sock, or unix:/run/auth.sock:/auth")
            return cls(UpstreamAddress.parse(_UNIX + path), target or "/")
        try:
            url = urlsplit(text)
        except ValueError as error:
            raise ValueError(f"is not a URL: {error}") from None
        if url.scheme not in ("http", "https") or not url.netloc:
            raise ValueError(f"must be the URL of a server that says who may pass, like {_LIKE}")
        if "@" in url.netloc or url.fragment:
            raise ValueError("must have neither user and password nor a # in it")
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return cls(UpstreamAddress.parse(f"{url.scheme}://{url.netloc}"), target)

    def __str__(self) -> str:
        """Show where it is, without the query: a token may be in it."""
        between = ":" if self.address.path is not None else ""
        return f"{self.address}{between}{self.target.partition('?')[0]}"


Auth = Annotated[
    AuthUrl,
    BeforeValidator(AuthUrl.parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": [_LIKE]}),
]
