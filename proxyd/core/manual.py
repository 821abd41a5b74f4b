"""A certificate of the operator's own, beside those that we obtain: nothing renews it."""

from dataclasses import dataclass
from datetime import datetime

from proxyd.core.moment import distance
from proxyd.core.renewal import Validity
from proxyd.core.trouble import Urgency, urgency_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """`cert` and `key`: the files; the same one has both where there is no `key` of its own.

    `reason`: why they are not served as they are, or why clients refuse what is.
    """

    cert: str
    key: str
    reason: str | None = None

    @property
    def files(self) -> str:
        """Return where it is, for people."""
        return self.cert if self.cert == self.key else f"{self.cert} (its key in {self.key})"

    def ending(self, serving: Validity | None, now: datetime) -> str | None:
        """Return that the last fifth of the life of what serves has begun, or None."""
        if serving is None or urgency_of(serving, now) is Urgency.NOTICED or serving.not_after <= now:
            return None
        ends = f"{serving.not_after:%Y-%m-%d %H:%M} UTC, {distance(serving.not_after - now)}"
        return f"the certificate of your own expires at {ends}, and nothing renews it"

    @property
    def to_do(self) -> str:
        """Return what ends its troubles."""
        if self.reason:
            return (
                f"Do what the text says. What is put into {self.files} is read within seconds; a change of the "
                "configuration takes `proxyd reload`."
            )
        return f"Put a new certificate with its chain into {self.files}: it is read within seconds, without a reload."
