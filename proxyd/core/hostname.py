"""Host names, parsed once at the border: lower case, IDNA A-labels, no trailing dot, IP literals."""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

import idna

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
#: With a final dot; brackets and an address are shorter.
_LONGEST = 254
#: Names under these never have a certificate of a public CA (RFC 2606, RFC 6761, RFC 6762, RFC 8375, ICANN 2024).
_PRIVATE_SUFFIXES = ("localhost", "test", "example", "invalid", "internal", "local", "onion", "home.arpa")


class InvalidHostname(ValueError):
    """The text is not a host name; the message says why and what to write instead."""


@dataclass(frozen=True, slots=True, order=True)
class Hostname:
    """A host name or IP address in the one spelling that the whole program compares.

    `text` is ASCII: A-labels in lower case without a trailing dot, or a compressed IP address without brackets.
    """

    text: str

    @classmethod
    def parse(cls, written: str) -> "Hostname":
        """Return the name that a person, a URL or a header wrote.

        Raises InvalidHostname with the reason and the next step.
        """
        text = written.strip()
        if address := _ip_address(text):
            return cls(address)
        if "://" in text or "/" in text:
            bare = text.split("://", 1)[-1].split("/", 1)[0]
            raise InvalidHostname(f"{written!r} is a URL, not a host name: write {bare!r}")
        if ":" in text:
            raise InvalidHostname(f"{written!r} has a port: a host is only a name, write {text.split(':', 1)[0]!r}")
        if not text.isascii():
            try:
                text = idna.encode(text.removesuffix("."), uts46=True, transitional=False).decode()
            except idna.IDNAError as error:
                raise InvalidHostname(f"{written!r} is not a valid international name (IDNA 2008): {error}") from None
        return cls(_ascii_name(text, written))

    @classmethod
    def from_wire(cls, name: str) -> "Hostname | None":
        """Return the name that the network sent (SNI, Host), or None when it is none. Never raises; no IDNA there."""
        return _of_wire(name) if len(name) <= _LONGEST else None

    @property
    def is_ip_address(self) -> bool:
        return ":" in self.text or self.text.rpartition(".")[2].isdigit()

    @property
    def is_public(self) -> bool:
        """Whether a public CA could certify the name at all."""
        if self.is_ip_address:
            return ipaddress.ip_address(self.text).is_global
        return "." in self.text and not any(
            self.text == suffix or self.text.endswith("." + suffix) for suffix in _PRIVATE_SUFFIXES
        )

    @property
    def authority(self) -> str:
        """Return the name as a URL has it: IPv6 addresses in brackets (RFC 3986 §3.2.2)."""
        return f"[{self.text}]" if ":" in self.text else self.text

    @classmethod
    def from_socket(cls, address: str) -> "Hostname":
        """Return an address as a socket tells it, without zone, IPv4 as such."""
        return cls(_of_socket(address))

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=4096)  # asked three times for each connection
def _of_wire(name: str) -> Hostname | None:
    if address := _ip_address(name):
        return Hostname(address)
    try:
        return Hostname(_ascii_name(name, name))
    except InvalidHostname:
        return None


def _ip_address(text: str) -> str | None:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" not in bare and not bare[-1:].isdigit():  # nearly every name: an exception costs more than all the rest
        return None
    if "%" in bare:  # a zone means something on one machine only (RFC 4007 §11), and any text may follow
        return None
    return _compressed(bare)


@lru_cache(maxsize=1024)  # thousands of hosts have few upstreams' addresses
def _compressed(bare: str) -> str | None:
    try:
        return ipaddress.ip_address(bare).compressed
    except ValueError:
        return None


@lru_cache(maxsize=1024)  # asked twice for each connection: its client's, and ours
def _of_socket(address: str) -> str:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).compressed


def _ascii_name(text: str, written: str) -> str:
    name = text.lower().removesuffix(".")
    if not name:
        raise InvalidHostname("the host name is empty")
    if len(name) > 253:
        raise InvalidHostname(
            f"{written[:40]!r}… is {len(name)} characters long: a host name has at most 253 (RFC 1035)"
        )
    labels = name.split(".")
    for label in labels:
        if not _LABEL.match(label):
            raise InvalidHostname(
                f"{written!r} is not a host name: {label!r} must be 1 to 63 letters, digits or hyphens"
                if label
                else f"{written!r} is not a host name: it has an empty part (two dots in a row, or one at the start)"
            )
        if label.startswith("xn--"):
            try:
                idna.decode(label)
            except idna.IDNAError as error:
                raise InvalidHostname(f"{written!r} has a broken international label {label!r}: {error}") from None
    if labels[-1].isdigit():
        raise InvalidHostname(f"{written!r} looks like an IP address but is not a valid one")
    return name
