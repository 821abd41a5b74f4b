"""What one configuration changes in another: for `plan`, `reload` and the log alike."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: The options of something, hashed: what tells two of them apart without telling what is in them.
Fingerprint = Mapping[str, str]
#: What processes and stores are made of.
AT_RESTART = ("cache", "workers", "fast_path", "listen.proxy_protocol", "admin.socket")
#: A reload that drops more than both needs a person's yes: a list cut short by accident looks like this.
_MANY, _LARGE_PART = 5, 0.2
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChange:
    """Hosts by name, with their aliases and wildcards; `changed` and `options` name what differs.

    `restart`: what the daemon takes over at its next start only, be it changed now or before. `of`: how many hosts
    there were.
    """

    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    changed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    options: Sequence[str] = ()
    restart: Sequence[str] = ()
    of: int = 0

    @classmethod
    def between(
        cls,
        old: Mapping[str, Fingerprint],
        new: Mapping[str, Fingerprint],
        *,
        options: tuple[Fingerprint, Fingerprint],
        started: Fingerprint | None = None,
    ) -> "ConfigChange":
        """Return what the hosts `new` change in `old`; `options`: the others of both; `started`: at the last start."""
        was, will_be = options
        return cls(
            added=sorted(new.keys() - old.keys()),
            removed=sorted(old.keys() - new.keys()),
            changed={one: keys for one in sorted(old.keys() & new.keys()) if (keys := _differing(old[one], new[one]))},
            options=_differing(was, will_be),
            restart=[key for key in _differing(was if started is None else started, will_be) if key in AT_RESTART],
            of=len(old),
        )

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.changed or self.options)

    @property
    def objection(self) -> str | None:
        """Return why nobody should apply this without having been asked, or None."""
        count = len(self.removed)
        if count <= _MANY or count <= self.of * _LARGE_PART:
            return None
        listed = ", ".join(self.removed[:_SHOWN]) + (f" and {count - _SHOWN} more" if count > _SHOWN else "")
        return (
            f"it would drop {count} of {self.of} hosts ({listed}), which is more than {_LARGE_PART:.0%}: "
            "if that is meant, run `proxyd reload --yes`; `proxyd plan` shows all of it"
        )

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": {host: list(keys) for host, keys in self.changed.items()},
            "options": list(self.options),
            "restart": list(self.restart),
        }


def change_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `to_document` gave as lines for a person; none: nothing changes."""
    for word in ("added", "removed"):
        for host in document[word]:
            yield f"host {word}: {host}"
    for host, keys in document["changed"].items():
        yield f"host changed: {host} ({', '.join(keys)})"
    restart = document["restart"]
    for key in dict.fromkeys([*document["options"], *restart]):
        yield f"option changed: {key}" + (" (takes effect at the next restart)" if key in restart else "")


def _differing(old: Fingerprint, new: Fingerprint) -> list[str]:
    keys: Iterable[str] = old.keys() | new.keys()
    return sorted(key for key in keys if old.get(key) != new.get(key))
