"""URLs of the operator's own servers, of which we ask something: http, https, or over a unix socket."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

_UNIX: Final = "unix:"


def on_socket(text: str, *, like: str) -> tuple[str, str] | None:
    """Return the path of a unix socket, and what is asked there (path and query); None: it is another URL.

    Raises ValueError that says what to write; `like`: an example, without a path behind the socket.
    """
    if not text.startswith(_UNIX):
        return None
    path, _, target = text.removeprefix(_UNIX).removeprefix("//").partition(":")
    if not path.startswith("/") or (target and not target.startswith("/")):
        raise ValueError(f"a unix socket is written {like}, or {like}:/check")
    return path, split_url(f"http://localhost{target or '/'}", like=like).geturl().removeprefix("http://localhost")


def split_url(text: str, *, like: str) -> SplitResult:
    """Return the parts of an http or https URL. Raises ValueError that says what to write; `like`: an example."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname or "", url.port
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not host or any(not "!" <= char <= "~" for char in text):
        raise ValueError(f"must be a URL of ASCII characters, others percent-encoded, like {like}")
    if url.username is not None or url.password is not None:
        raise ValueError("must have no user and password in it: put a token into the query, like ?token=…")
    if "#" in text:
        raise ValueError("must have no #: it never reaches the server")
    return url if url.path else url._replace(path="/")
