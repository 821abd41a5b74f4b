"""What a host makes of certificates of clients, as it is written in the file."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, ValidationInfo, field_validator, model_validator

from proxyd.config.document import Location
from proxyd.config.header_options import RequestField
from proxyd.config.option import Options, option
from proxyd.core.client_identity import CertificateField
from proxyd.core.client_rule import ClientRule, RuleKind
from proxyd.core.field_names import without_aliases

if TYPE_CHECKING:
    from proxyd.config.host import HostOptions

_KEYS: Final = ("client_allow", "client_headers")


class ClientMatch(Options):
    """Certificates of clients that are served."""

    san: str | None = option(
        None, "a name (*.clients.example.com too), mail address, IP address or URI", sample="alice.example.com"
    )
    subject: str | None = option(None, "instead: the whole of it, like CN=alice,O=Example")
    fingerprint: str | None = option(None, "instead: SHA-256 of the certificate, in hexadecimal digits")

    @field_validator("san", "subject", "fingerprint")
    @classmethod
    def _can_be_compared(cls, written: str | None, info: ValidationInfo) -> str | None:
        if written is not None:
            kind: RuleKind = info.field_name  # type: ignore[assignment]
            ClientRule.parse(kind, written)
        return written

    @model_validator(mode="after")
    def _says_one_thing(self) -> "ClientMatch":
        if len([*self._written()]) != 1:
            raise ValueError("must be one of {san: V}, {subject: V}, {fingerprint: V}")
        return self

    def rule(self) -> ClientRule:
        """Return how certificates are compared with it."""
        return next(self._written())

    def _written(self) -> Iterator[ClientRule]:
        if self.san is not None:
            yield ClientRule.parse("san", self.san)
        if self.subject is not None:
            yield ClientRule.parse("subject", self.subject)
        if self.fingerprint is not None:
            yield ClientRule.parse("fingerprint", self.fingerprint)


def _differ(headers: dict[str, CertificateField]) -> dict[str, CertificateField]:
    seen: dict[bytes, str] = {}
    for name in headers:
        other = seen.setdefault(without_aliases(name.encode()), name)
        if other != name:
            raise ValueError(f"{other} and {name} are one field to many applications: remove one")
    return headers


ClientHeaders = Annotated[dict[RequestField, CertificateField], AfterValidator(_differ)]


def client_mistakes(options: "HostOptions", defaults: "HostOptions") -> Iterator[tuple[Location, str]]:
    """Say what of a host's own options concerns certificates that it never asks for, or is told twice."""
    for key in _KEYS:
        written = getattr(options.tls, key)
        if written != getattr(defaults.tls, key) and written and (message := _unasked(options)):
            yield ("tls", key), message
    told = {without_aliases(name.encode()): name for name in options.tls.client_headers}
    for name in options.headers.request.set if told else ():
        if clash := told.get(without_aliases(name.encode())):
            message = f"{name} is what client_headers tells of the client ({clash}): remove one of them"
            yield ("headers", "request", "set", name), message


def client_mistakes_of_all(defaults: "HostOptions", hosts: Iterable["HostOptions"]) -> Iterator[tuple[Location, str]]:
    """Say what the defaults have for certificates that no host asks for."""
    written = [key for key in _KEYS if getattr(defaults.tls, key)]
    if written and (message := _unasked(defaults)) and all(map(_unasked, hosts)):
        yield from ((("defaults", "tls", key), message) for key in written)


def _unasked(options: "HostOptions") -> str | None:
    if options.tls.client_ca is None:
        return "needs client_ca: without it no client is asked for a certificate"
    if options.tls.client_auth == "none":
        return "needs client_auth: require or optional; none asks no client for a certificate"
    return None
