"""How everything is, in one line: what the service manager shows of us."""

from collections.abc import Callable, Mapping, Sequence

from proxyd.core.hostname import Hostname
from proxyd.core.status import HostStatus

_MOST = 200


def status_words(
    rows: Mapping[Hostname, HostStatus], brief: Callable[[Hostname], str], troubles: Sequence[str] = ()
) -> str:
    """Return `42 hosts ok, 1 failing: api.example.com: DNS points elsewhere`.

    `brief` says in a few words why a host has no new certificate, or nothing; `troubles` are those of the whole.
    """
    failing = [row for row in rows.values() if row.needs_a_person and (row.last_error or row.alarms)]
    coming = sum(1 for row in rows.values() if row.state in ("ordering", "missing") and not row.last_error)
    fine = len(rows) - len(failing) - coming
    words = [f"{fine} host{'' if fine == 1 else 's'} ok"]
    if coming:
        words.append(f"{coming} waiting for a first certificate")
    if failing:
        words.append(f"{len(failing)} failing: {_first(failing[0], brief)}")
    line = "; ".join([*(_short(one) for one in troubles), ", ".join(words)])
    return line if len(line) <= 2 * _MOST else line[: 2 * _MOST] + "…"


def _first(row: HostStatus, brief: Callable[[Hostname], str]) -> str:
    why = next(iter(row.alarms), "") or brief(row.host) or row.last_error or ""
    return f"{row.host}: {_short(why.removeprefix(f'{row.host}: '))}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST else line[:_MOST] + "…"
