"""Where to ask whether a name may have a certificate."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from proxyd.config.asked_url import on_socket, split_url
from proxyd.core.networks import is_loopback


@dataclass(frozen=True, slots=True)
class AskUrl:
    """An http or https URL; `socket` is set when it is asked over a unix socket."""

    url: str
    socket: str | None = None

    @classmethod
    def parse(cls, written: object) -> "AskUrl":
        """Return an https URL, an http one to loopback, `unix:/path.sock` or `unix:/path.sock:/check`.

        Raises ValueError that says what to write.
        """
        if isinstance(written, AskUrl):
            return written
        text = written.strip() if isinstance(written, str) else ""
        if (found := on_socket(text, like="unix:/run/app.sock")) is not None:
            return cls(f"http://localhost{found[1]}", found[0])
        url = split_url(text, like="http://127.0.0.1:9000/check or https://app.example.com/check")
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            raise ValueError(
                f"http:// is only for this machine (127.0.0.1, ::1, localhost): write https://{url.netloc}/…"
            )
        return cls(url.geturl())

    def asking(self, name: str) -> str:
        """Return the URL that asks about `name`; a query that was written is kept."""
        return f"{self.url}{'&' if '?' in self.url else '?'}{urlencode({'domain': name})}"

    def __str__(self) -> str:
        """Show where it is, without the query: a token may be in it."""
        bare = self.url.partition("?")[0]
        return f"unix:{self.socket}:{bare.removeprefix('http://localhost')}" if self.socket else bare


Ask = Annotated[
    AskUrl,
    BeforeValidator(AskUrl.parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["http://127.0.0.1:9000/check"]}),
]
