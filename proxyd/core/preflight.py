"""What a look at a name says about its first order. It explains and may put the order off once; it never forbids."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from proxyd.core.caa import permits
from proxyd.core.hostname import Hostname
from proxyd.core.name_view import NameView, Port80

_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that lets an order fail. Definite: the CA must see it too; else it may only look so from here."""

    text: str
    is_definite: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How often it was right about a host. `false_alarms`: it was sure of a failure, and there was none."""

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0

    @property
    def is_trusted(self) -> bool:
        """Whether it may put off an order: not where it was wrong."""
        return self.false_alarms == 0

    def count(self, *, predicted: bool, definite: bool, failed: bool) -> "Score":
        """Return the score with one more order, which failed or not as predicted."""
        right = predicted == failed
        alarm = definite and not failed
        return replace(
            self,
            hits=self.hits + right,
            misses=self.misses + (not right),
            false_alarms=self.false_alarms + alarm,
        )

    def to_document(self) -> dict[str, object]:
        """Return the score as JSON values."""
        return {"hits": self.hits, "misses": self.misses, "false_alarms": self.false_alarms}

    @classmethod
    def read(cls, document: Mapping[str, object]) -> "Score":
        """Return what `to_document` gave; broken parts count nothing."""

        def number(key: str) -> int:
            value = document.get(key)
            return value if isinstance(value, int) and 0 <= value < _MOST else 0

        return cls(hits=number("hits"), misses=number("misses"), false_alarms=number("false_alarms"))


def findings(name: Hostname, view: NameView, identities: Collection[str]) -> Iterator[Finding]:
    """Yield what may let the CA with these CAA identities fail; without identities nothing is said of CAA."""
    if view.trouble is not None:
        yield Finding(f"the DNS gave no answer about {name}: {view.trouble}", is_definite=False)
    if view.addresses == ():
        yield Finding(
            f"the DNS has no address for {name}: add an A or AAAA record that points to this machine", is_definite=True
        )
    if view.caa and identities and not permits(view.caa, identities):
        records = "; ".join(str(one) for one in view.caa)
        wanted = " or ".join(sorted(identities))
        yield Finding(
            f"the CAA records that count for {name} ({records}) forbid this CA: add one that issues to {wanted}",
            is_definite=True,
        )
    for one in view.reached:
        if one.port80 in (Port80.OTHER, Port80.CLOSED):
            yield Finding(f"port 80 of {one.address}, an address of {name}: {one.words}", is_definite=False)
