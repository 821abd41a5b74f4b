"""Header rules of a host: which fields may be set and removed, and to what."""

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from proxyd.config.option import Options, option
from proxyd.core.field_names import HOP_BY_HOP, OURS, is_token, without_aliases

_THEIR_OWN = {b"host": "write host_header instead", b"trailer": "it announces what the body ends with"}


def _request_field(written: object) -> str:
    name, meant = _field(written)
    if meant in OURS:
        raise ValueError(f"{name} is for proxyd to say: what the upstream is told about its client cannot be changed")
    if meant in _THEIR_OWN:
        raise ValueError(f"{name} cannot be changed here: {_THEIR_OWN[meant]}")
    return name


def _response_field(written: object) -> str:
    return _field(written)[0]


def _field(written: object) -> tuple[str, bytes]:
    if not isinstance(written, str) or not is_token(written.encode()):
        raise ValueError("must be the name of a header field, like X-Frame-Options")
    meant = without_aliases(written.encode())
    if meant in HOP_BY_HOP or meant == b"trailer":
        raise ValueError(f"{written} is about one connection or the length of a message: it cannot be changed")
    return written, meant


def _value(written: object) -> str:
    if isinstance(written, int | float) and not isinstance(written, bool):
        return str(written)
    if not isinstance(written, str):
        raise ValueError("must be text: put it in quotes")
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in written.replace("\t", "")):
        raise ValueError("must be one line without control characters: a line break would begin another field")
    try:
        written.encode()
    except UnicodeEncodeError:
        raise ValueError("has characters that are none") from None
    return written.strip()


_name_schema = WithJsonSchema({"type": "string"})
RequestField = Annotated[str, BeforeValidator(_request_field), _name_schema]
_Value = Annotated[str, BeforeValidator(_value), WithJsonSchema({"type": ["string", "number"]})]
_ResponseField = Annotated[str, BeforeValidator(_response_field), _name_schema]


class RequestChanges(Options):
    """Fields of requests to set and to remove."""

    set: dict[RequestField, _Value] = option(doc="NAME: VALUE, in place of what the client sent", factory=dict)
    remove: tuple[RequestField, ...] = option((), "names")


class ResponseChanges(Options):
    """Fields of responses to set and to remove."""

    set: dict[_ResponseField, _Value] = option(doc="NAME: VALUE, in place of what the upstream sent", factory=dict)
    remove: tuple[_ResponseField, ...] = option((), "names")


class HeaderOptions(Options):
    """Header rules in both directions."""

    request: RequestChanges = option(RequestChanges(), "towards the upstream")
    response: ResponseChanges = option(ResponseChanges(), "what an upstream answered, towards the client")
