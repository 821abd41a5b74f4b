"""Something to tell."""

from datetime import UTC, datetime, timedelta

from proxyd.core.hostname import Hostname
from proxyd.core.notice import Notice
from proxyd.core.trouble import Trouble, TroubleKind, Urgency

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def notice(host: str = "example.com", *, at: datetime = AT) -> Notice:
    trouble = Trouble(
        key=f"certificate {host} p256",
        kind=TroubleKind.RENEWAL_FAILED,
        urgency=Urgency.TENTH_LEFT,
        reason=f"{host}: the DNS points elsewhere, to 192.0.2.1",
        to_do="Let the A record point to this machine.",
        hosts=(Hostname(host),),
        runs_out_at=at + timedelta(days=9),
    )
    return Notice(
        event="problem", kind=trouble.kind, urgency=trouble.urgency, at=at, server="machine", troubles=(trouble,)
    )
