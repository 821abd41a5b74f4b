"""Where to ask whether a name may have a certificate."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from proxyd.core.networks import is_loopback

_PREFIX = "unix:"


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
        if text.startswith(_PREFIX):
            path, _, target = text.removeprefix(_PREFIX).removeprefix("//").partition(":")
            if not path.startswith("/") or (target and not target.startswith("/")):
                raise ValueError("a unix socket is written unix:/run/app.sock, or unix:/run/app.sock:/check")
            return cls(_checked(f"http://localhost{target or '/'}"), path)
        return cls(_checked(text))

    def asking(self, name: str) -> str:
        """Return the URL that asks about `name`; a query that was written is kept."""
        return f"{self.url}{'&' if '?' in self.url else '?'}{urlencode({'domain': name})}"

    def __str__(self) -> str:
        """Show where it is, without the query: a token may be in it."""
        bare = self.url.partition("?")[0]
        return f"unix:{self.socket}:{bare.removeprefix('http://localhost')}" if self.socket else bare


def _checked(text: str) -> str:
    try:
        url = urlsplit(text)
        host, _ = url.hostname or "", url.port
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not host or any(not "!" <= char <= "~" for char in text):
        raise ValueError("must be a URL, like http://127.0.0.1:9000/check or https://app.example.com/check")
    if url.username is not None or url.password is not None:
        raise ValueError("must have no user and password in it: put a token into the query, like ?token=…")
    if url.fragment:
        raise ValueError("must have no #: it never reaches the server")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError(f"http:// is only for this machine (127.0.0.1, ::1, localhost): write https://{host}/…")
    return text if url.path else url._replace(path="/").geturl()


Ask = Annotated[
    AskUrl,
    BeforeValidator(AskUrl.parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["http://127.0.0.1:9000/check"]}),
]
