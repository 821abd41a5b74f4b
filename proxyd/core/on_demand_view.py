"""What a wildcard host allows, and how much of it is left."""

from dataclasses import dataclass
from datetime import datetime

from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.status import rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemandView:
    """`ask`: who is asked about each name, None: nobody. `new_today`: of all wildcard hosts together.

    `free_at`: when the next new name may come, None: now. `names`: those under it that have a certificate or wait.
    """

    pattern: HostPattern
    issuers: tuple[str, ...]
    challenges: tuple[str, ...]
    ask: str | None
    max_new_per_day: int
    new_today: int
    free_at: datetime | None
    public: bool
    names: tuple[Hostname, ...]

    @property
    def state(self) -> str:
        """Return ready, or waiting when no new name is allowed for a while."""
        return "waiting" if self.free_at else "ready"

    @property
    def words(self) -> str:
        """Return how much of the day's allowance is used, for people."""
        names = "1 name is" if len(self.names) == 1 else f"{len(self.names) or 'no'} names are"
        return f"on demand: {names} served; {self.new_today} of {self.max_new_per_day} new names in 24 h used"

    def to_document(self) -> dict[str, object]:
        """Return it as JSON values (times RFC 3339, UTC)."""
        return {
            "state": self.state,
            "issuer": self.issuers[0],
            "ask": self.ask,
            "max_new_per_day": self.max_new_per_day,
            "new_today": self.new_today,
            "next_try": rfc3339(self.free_at),
            "names": len(self.names),
            "words": self.words,
        }
