"""Wildcard hosts: which names they stand for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from proxyd.core.hostname import Hostname, InvalidHostname

if TYPE_CHECKING:
    from collections.abc import Mapping

V = TypeVar("V")
_ANY = "*"


@dataclass(frozen=True, slots=True, order=True)
class HostPattern:
    """`*.apps.example.com`: every name with one label more (RFC 9525 §6.3); `*`: every name. Never an IP address."""

    text: str

    @classmethod
    def parse(cls, written: str) -> "HostPattern":
        """Return the pattern that a person wrote. Raises InvalidHostname with the reason and the next step."""
        text = written.strip()
        if text == _ANY:
            return cls(_ANY)
        if not text.startswith("*.") or "*" in text[1:]:
            raise InvalidHostname(
                f'{written!r} is not a wildcard host: the * stands for the whole first label, like "*.example.com", '
                'or alone for every name: "*"'
            )
        parent = Hostname.parse(text[2:])
        if parent.is_ip_address:
            raise InvalidHostname(f"{written!r} is not a wildcard host: IP addresses have no names under them")
        if len(parent.text) > _LONGEST_PARENT:
            raise InvalidHostname(f"{written!r} leaves no room for a label: a host name has at most 253 characters")
        return cls(f"*.{parent}")

    @classmethod
    def over(cls, host: Hostname) -> "tuple[HostPattern, ...]":
        """Return the patterns that match `host`, the closest first."""
        if host.is_ip_address:
            return ()
        _, dot, parent = host.text.partition(".")
        return (cls(f"*.{parent}"), cls(_ANY)) if dot else (cls(_ANY),)

    @property
    def is_public(self) -> bool:
        """Whether a public CA could certify names under it."""
        return self.is_any or Hostname(self.text.replace(_ANY, "a")).is_public

    @property
    def is_any(self) -> bool:
        """Whether it stands for every name."""
        return self.text == _ANY

    def matches(self, host: Hostname) -> bool:
        """Return whether it stands for `host`."""
        return self in HostPattern.over(host)

    def __str__(self) -> str:
        return self.text


_LONGEST_PARENT = 251


def host_or_pattern(written: str) -> Hostname:
    """Return the name that a person wrote; a wildcard host as the name that journal and status have for it.

    Raises InvalidHostname.
    """
    return Hostname(HostPattern.parse(written).text) if "*" in written else Hostname.parse(written)


class HostTable(Generic[V]):
    """What is said about names: exactly, else by the closest wildcard. Frozen; one look-up costs at most three."""

    __slots__ = ("_exact", "_patterns")

    def __init__(
        self, exact: "Mapping[Hostname, V] | None" = None, patterns: "Mapping[HostPattern, V] | None" = None
    ) -> None:
        self._exact = exact or {}
        self._patterns = patterns or {}

    def get(self, host: Hostname) -> V | None:
        """Return what is said about `host`, or None."""
        found = self._exact.get(host)
        if found is not None or not self._patterns:
            return found
        pattern = self.pattern(host)
        return self._patterns[pattern] if pattern else None

    def pattern(self, host: Hostname) -> HostPattern | None:
        """Return the wildcard that stands for `host`; None also for a name that is listed itself."""
        if host in self._exact:
            return None
        return next((one for one in HostPattern.over(host) if one in self._patterns), None)

    def __contains__(self, host: object) -> bool:
        return isinstance(host, Hostname) and self.get(host) is not None
