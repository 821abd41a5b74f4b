"""How the last reload ended: for the status line, `status` and the metrics."""

from dataclasses import dataclass


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
