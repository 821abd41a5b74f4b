"""How the last reload ended: for the status line, `status` and the metrics."""

from dataclasses import dataclass

from proxyd.core.alarm import Alarm
from proxyd.core.trouble import TroubleKind

_TO_DO = "`proxyd check` shows every mistake; mend them, then `proxyd reload`: with such a file no restart would work."


@dataclass(slots=True)
class LastReload:
    """`refused`: why the file as it is now is not in force; empty: it is. `applied_at`: POSIX time; 0: none yet."""

    refused: str = ""
    applied_at: float = 0.0

    @property
    def words(self) -> str | None:
        """Return the refusal for a person, or None."""
        return (
            f"the configuration file was refused, what served before serves: {self.refused}" if self.refused else None
        )

    @property
    def alarm(self) -> Alarm | None:
        """Return the refusal with what to do about it, or None."""
        words = self.words
        return Alarm(reason=words, to_do=_TO_DO, kind=TroubleKind.RELOAD_REFUSED) if words else None
