"""Why a client that asked for a name under a wildcard host was sent away."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The latest one of a name. `reason` is one of few phrases, `detail` what somebody else said."""

    at: datetime
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason
