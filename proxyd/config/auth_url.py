"""Where to ask whether a request may pass."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from proxyd.config.asked_url import on_socket, split_url
from proxyd.config.values import UpstreamAddress

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
        if (found := on_socket(text, like="unix:/run/auth.sock")) is not None:
            return cls(UpstreamAddress.parse(f"unix:{found[0]}"), found[1])
        url = split_url(text, like=_LIKE)
        target = url.path + (f"?{url.query}" if url.query else "")
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
