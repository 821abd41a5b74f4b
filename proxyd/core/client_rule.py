"""Which certificates of clients are let in."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from proxyd.core.client_identity import AlternativeKind, ClientIdentity
from proxyd.core.distinguished_name import parse_name
from proxyd.core.hostname import Hostname, InvalidHostname

RuleKind = Literal["san", "subject", "fingerprint"]
_KINDS: dict[str, AlternativeKind] = {"dns": "DNS", "email": "email", "uri": "URI", "ip": "IP"}
_LABEL = re.compile(r"[a-z0-9_-]+")
_PREFIX = re.compile(r"(?i)(dns|email|uri|ip):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ClientRule:
    """One thing that a certificate must say. Made by `parse`: what is wanted has the form in which it is compared."""

    kind: RuleKind
    _wanted: object

    @classmethod
    def parse(cls, kind: RuleKind, written: str) -> "ClientRule":
        """Return the rule as a user writes it. Raises ValueError that says what to write."""
        text = written.strip()
        if not text:
            raise ValueError("is empty")
        match kind:
            case "san":
                return cls(kind, _alternative(text))
            case "subject":
                return cls(kind, parse_name(text))
            case "fingerprint":
                return cls(kind, _fingerprint(text))

    def admits(self, identity: ClientIdentity) -> bool:
        """Return whether a certificate says so."""
        match self.kind:
            case "san":
                return any(self._is_wanted(*one) for one in identity.alternatives)
            case "subject":
                try:
                    return parse_name(identity.subject) == self._wanted
                except ValueError:  # none that could be written in the file
                    return False
            case "fingerprint":
                return identity.fingerprint == self._wanted

    def _is_wanted(self, kind: AlternativeKind, name: str) -> bool:
        found = _normal(kind, name)
        if (kind, found) == self._wanted:
            return kind != "DNS" or "*" not in found
        label, _, parent = found.partition(".")
        is_label = kind == "DNS" and _LABEL.fullmatch(label) is not None
        return is_label and (kind, f"*.{parent}") == self._wanted


def _alternative(text: str) -> tuple[AlternativeKind, str]:
    if match := _PREFIX.fullmatch(text):
        kind, name = _KINDS[match[1].lower()], match[2]
    else:
        kind, name = _kind_of(text), text
    if not name or not name.isprintable() or " " in name:
        raise ValueError("must be a subject alternative name, like alice.example.com, DNS:…, email:…, URI:… or IP:…")
    if kind == "IP":
        try:
            ip_address(name)
        except ValueError:
            raise ValueError(f"{name} is not an IP address") from None
    if kind == "DNS":
        parent = name.removeprefix("*.")
        if "*" in parent:
            raise ValueError("may have a * for the first label only, like *.clients.example.com")
        if not name.isascii():
            try:
                name = name.removesuffix(parent) + Hostname.parse(parent).text
            except InvalidHostname as error:
                raise ValueError(str(error)) from None
    return kind, _normal(kind, name)


def _kind_of(text: str) -> AlternativeKind:
    try:
        ip_address(text)
    except ValueError:
        return "email" if "@" in text and "/" not in text else "URI" if ":" in text else "DNS"
    return "IP"


def _normal(kind: AlternativeKind, name: str) -> str:
    """Return the form in which it is compared (RFC 5280 §7): case means nothing in names of hosts."""
    match kind:
        case "DNS":
            return name.lower().removesuffix(".")
        case "email":
            local, at, host = name.rpartition("@")
            return f"{local}{at}{host.lower()}"
        case "IP":
            try:
                return ip_address(name).compressed
            except ValueError:
                return name
        case "URI":
            return name


def _fingerprint(text: str) -> str:
    kind, colon, digits = text.lower().partition(":")
    found = (digits if colon and kind == "sha256" else text.lower()).replace(":", "")
    if re.fullmatch(r"[0-9a-f]{64}", found) is None:
        raise ValueError(
            "must be the SHA-256 of the certificate in 64 hexadecimal digits, with or without colons: "
            "openssl x509 -noout -fingerprint -sha256 -in client.pem"
        )
    return found
