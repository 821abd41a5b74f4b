"""One message to people, or to the programs that wake them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from proxyd.core.status import rfc3339
from proxyd.core.trouble import Trouble, TroubleKind, Urgency

Event = Literal["problem", "resolved", "test"]
#: A message of ten thousand hosts is read by nobody; `count` says how many there are.
_SHOWN = 50
_WHAT: Mapping[TroubleKind, str] = {
    TroubleKind.RENEWAL_FAILED: "no new certificate",
    TroubleKind.BLOCKED: "no new certificate until somebody does something",
    TroubleKind.TERMS_CHANGED: "the CA's terms have changed",
    TroubleKind.ACCOUNT_REFUSED: "the CA refuses our account",
    TroubleKind.CA_FAILED: "the CA gives no certificates",
    TroubleKind.BREAKER_TRIPPED: "too many certificates were ordered",
    TroubleKind.SELF_HANDSHAKE_FAILED: "clients may not see the new certificate",
    TroubleKind.NOT_IN_USE: "the new certificate does not serve",
    TroubleKind.CACHE_NOT_DURABLE: "nothing can be kept",
    TroubleKind.CLOCK_WRONG: "the clock is not believed",
    TroubleKind.OWN_CERTIFICATE: "a certificate of your own cannot be used as it is",
    TroubleKind.OWN_CERTIFICATE_ENDING: "a certificate of your own expires soon",
    TroubleKind.ROOT_CHANGED: "the internal CA has, or needs, a new root",
    TroubleKind.HOOK_FAILED: "on_renew or export failed",
    TroubleKind.RELOAD_REFUSED: "the configuration file was refused",
    TroubleKind.ACCESS_LOG_FAILED: "the access log cannot be written",
    TroubleKind.USER_FILE: "a file of users cannot be used",
}
_LEFT: Mapping[Urgency, tuple[str, str]] = {
    Urgency.NOTICED: ("noticed", ""),
    Urgency.FIFTH_LEFT: ("one_fifth_left", ", a fifth of its life left"),
    Urgency.TENTH_LEFT: ("one_tenth_left", ", a tenth of its life left"),
    Urgency.TWENTIETH_LEFT: ("one_twentieth_left", ", a twentieth of its life left"),
    Urgency.NOTHING_SERVES: ("nothing_serves", ", clients are refused"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Troubles of one kind and urgency that are told together; `server`: the machine that tells."""

    event: Event
    kind: TroubleKind | None
    urgency: Urgency
    at: datetime
    server: str
    troubles: tuple[Trouble, ...] = ()

    @property
    def id(self) -> str:
        """Return what is the same whenever this notice is sent again."""
        kind = self.kind.value if self.kind else ""
        parts = (
            self.event,
            kind,
            self.urgency.name,
            self.at.isoformat(),
            self.server,
            *(one.key for one in self.troubles),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    @property
    def summary(self) -> str:
        """Return it in a line."""
        if self.kind is None:
            return "test: alerts of proxyd arrive here"
        hosts = [*dict.fromkeys(host.text for one in self.troubles for host in one.hosts)]
        whose = f"{hosts[0]} and {len(hosts) - 1:,} more: " if len(hosts) > 1 else "".join(f"{one}: " for one in hosts)
        if self.event == "resolved":
            return f"resolved: {whose}{_WHAT[self.kind]}"
        return f"{whose}{_WHAT[self.kind]}{_LEFT[self.urgency][1]}"

    def to_document(self) -> dict[str, object]:
        """Return the JSON that webhooks and programs get."""
        return {
            "version": 1,
            "id": self.id,
            "event": self.event,
            "kind": self.kind.value if self.kind else None,
            "severity": "info" if self.event != "problem" else self.urgency.severity,
            "escalation": _LEFT[self.urgency][0],
            "at": rfc3339(self.at),
            "server": self.server,
            "summary": self.summary,
            "text": self.text,
            "count": len(self.troubles),
            "troubles": [_document(one) for one in self.troubles[:_SHOWN]],
        }

    @property
    def text(self) -> str:
        """Return it for people, several lines."""
        lines = [f"{self.server}: {self.summary}"]
        for one in self.troubles[:_SHOWN]:
            lines += ["", *_lines(one, is_over=self.event == "resolved")]
        if len(self.troubles) > _SHOWN:
            lines += ["", f"… and {len(self.troubles) - _SHOWN:,} more: `proxyd status` shows all."]
        if self.event == "test":
            lines += ["", "Nothing is wrong: somebody ran `proxyd check --alerts`."]
        return "\n".join(lines)


def _document(trouble: Trouble) -> dict[str, object]:
    return {
        "key": trouble.key,
        "hosts": [host.text for host in trouble.hosts[:_SHOWN]],
        "host_count": len(trouble.hosts),
        "reason": trouble.reason,
        "to_do": trouble.to_do or None,
        "runs_out_at": rfc3339(trouble.runs_out_at),
        "next_try": rfc3339(trouble.next_try),
    }


def _lines(trouble: Trouble, *, is_over: bool) -> list[str]:
    if is_over:
        return [f"Over: {trouble.reason}"]
    lines = [trouble.reason]
    if len(trouble.hosts) > 1:
        more = f" and {len(trouble.hosts) - _SHOWN:,} more" if len(trouble.hosts) > _SHOWN else ""
        lines.append(f"Hosts: {', '.join(host.text for host in trouble.hosts[:_SHOWN])}{more}")
    if trouble.runs_out_at:
        lines.append(f"Runs out of road at {_at(trouble.runs_out_at)}: from then on clients are refused.")
    if trouble.next_try:
        is_late = trouble.runs_out_at is not None and trouble.next_try >= trouble.runs_out_at
        too_late = f": too late, so order it now (proxyd renew {trouble.hosts[0]})" if is_late and trouble.hosts else ""
        lines.append(f"The next try is at {_at(trouble.next_try)}{too_late}.")
    if trouble.to_do:
        lines.append(f"What to do: {trouble.to_do}")
    if trouble.hosts:
        lines.append(f"More: proxyd explain {trouble.hosts[0]}")
    return lines


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
