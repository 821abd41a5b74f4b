"""Where requests of a host go: redirects and paths."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema, model_validator

from proxyd.config.option import Options, option
from proxyd.config.values import Upstreams
from proxyd.core.hostname import Hostname
from proxyd.core.route_table import same_prefix

_IN_URL = re.compile(r"[!-~]+")


def _target(written: str) -> str:
    if not _IN_URL.fullmatch(written):
        raise ValueError("must be a URL of ASCII characters, others percent-encoded, like https://www.example.com")
    if written.startswith("/") and not written.startswith("//"):
        return written
    try:
        url = urlsplit(written)
        _ = url.port
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.hostname or url.username is not None:
        raise ValueError(
            "must be a URL like https://www.example.com, or a path of this host like /new/ "
            "(a host alone is not enough: write https:// before it)"
        )
    return written


def _as_redirect(written: object) -> object:
    return {"to": written} if isinstance(written, str) else written


class _RedirectOptions(Options):
    """Send clients elsewhere."""

    to: Annotated[str, AfterValidator(_target)] = option(doc="target URL", sample="https://www.example.com")
    status: Literal[301, 302, 303, 307, 308] = option(308, "status code")
    keep_path: bool = option(True, "append path and query")

    @model_validator(mode="after")
    def _has_one_query(self) -> "_RedirectOptions":
        if self.keep_path and ("?" in self.to or "#" in self.to):
            raise ValueError("has a query or fragment, and the client's path would come after it: add keep_path: false")
        return self


Redirect = Annotated[_RedirectOptions, BeforeValidator(_as_redirect, json_schema_input_type=_RedirectOptions | str)]


class PathRoute(Options):
    """What serves the requests under a path."""

    upstream: Upstreams = option((), "where to", sample="http://127.0.0.1:8081")
    strip: bool = option(False, "remove the prefix")
    redirect: Redirect | None = option(None, "where to send clients")

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "PathRoute":
        if self.redirect is None and not self.upstream:
            raise ValueError("needs an upstream or a redirect: write {upstream: http://127.0.0.1:8081}")
        if self.redirect is not None and (self.upstream or self.strip):
            raise ValueError("sends its clients elsewhere (redirect): remove upstream and strip")
        return self


def _prefix(written: object) -> str:
    if isinstance(written, str) and written.startswith("/") and written.endswith("*"):
        raise ValueError(f"stands for all below it without a *: write {written.rstrip('*') or '/'}")
    if not isinstance(written, str) or not written.startswith("/") or not _IN_URL.fullmatch(written):
        raise ValueError("must be a path that begins with /, like /static/, as clients send it (percent-encoded)")
    if "?" in written or "#" in written:
        raise ValueError("must be a path without a query or fragment")
    return written


def _as_path_route(written: object) -> object:
    return {"upstream": written} if isinstance(written, str | int | list) else written


def _are_different(paths: dict[str, PathRoute]) -> dict[str, PathRoute]:
    seen: dict[str, str] = {}
    for prefix in paths:
        if (same := seen.setdefault(same_prefix(prefix), prefix)) is not prefix:
            raise ValueError(f"{same} and {prefix} are the same path: remove one")
    return paths


_Prefix = Annotated[str, BeforeValidator(_prefix), WithJsonSchema({"type": "string"})]
_as_route = BeforeValidator(_as_path_route, json_schema_input_type=PathRoute | str | int | list[str | int])
Paths = Annotated[dict[_Prefix, Annotated[PathRoute, _as_route]], AfterValidator(_are_different)]


def serves_all(redirect: Any, paths: Iterable[str]) -> bool:
    """Return whether a host without an upstream has an answer for every request."""
    return redirect is not None or any(same_prefix(one) == "" for one in paths)


def loops(names: Iterable[Hostname], redirect: _RedirectOptions | None, paths: Iterable[str]) -> Iterator[str]:
    """Yield why a redirect of all requests of a host sends clients round in a circle."""
    if redirect is None or [*paths]:
        return
    if redirect.to.startswith("/"):
        yield "is a path of this host, whose every request is redirected: write a URL, or put it under paths"
        return
    url = urlsplit(redirect.to)
    there = Hostname.from_wire(url.hostname or "")
    if url.scheme == "https" and url.port in (None, 443) and there is not None and there in names:
        yield f"sends clients of {there} to {there} again: name another host"
