"""`proxyd status` for a person at a terminal: what needs one comes last, where the eye is; nothing of it is cut off."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from proxyd.admin.control_client import Document
from proxyd.cli.table import bold, coloured, columns, faint, moment, printable, wrapped
from proxyd.core.moment import distance
from proxyd.core.status import OTHERS

_HEAD = ("HOST", "STATE", "EXPIRES", "RENEWS", "ISSUER")
_GAP = "  "
_INDENT = "    "


def show_status(document: Document, now: datetime) -> None:
    """Print every host with its trouble, what the CAs allow, and in one line how all is."""
    hosts = sorted(document["hosts"].items(), key=lambda one: (one[1]["needs_a_person"], bool(trouble(one[1])), one[0]))
    lines = [(_cells(name, row, now), _notes(row, now), row["needs_a_person"]) for name, row in hosts]
    wildcards = document.get("on_demand", {}).items()
    lines = [((name, one["state"], "-", "-", one["issuer"]), [one["words"]], False) for name, one in wildcards] + lines
    widths = [max([len(_HEAD[at]), *(len(cells[at]) for cells, _, _ in lines)]) for at in range(len(_HEAD) - 1)]
    if lines:
        print(bold(_GAP.join([*(one.ljust(width) for one, width in zip(_HEAD, widths, strict=False)), _HEAD[-1]])))
    for cells, told, urgent in lines:
        name, state, *rest = (one.ljust(width) for one, width in zip(cells, widths, strict=False))
        left = columns() - sum(widths) - len(_GAP) * len(widths)
        print(_GAP.join([printable(name), coloured(state, urgent=urgent), *rest, faint(_cut(cells[-1], left))]))
        for note in told:
            print(wrapped(printable(note), indent=_INDENT))
    print()
    for note in notes(document, now):
        print(wrapped(printable(note), indent=""))
    print(bold(_summary(document)))


def notes(document: Document, now: datetime) -> Iterator[str]:
    """Yield what is to be said of the whole machine and of its CAs."""
    for key in ("clock", "cache", "reload", *OTHERS):
        if document.get(key):  # a daemon of an older version tells none
            yield document[key]
    for issuer, room in document["budget"].items():
        if room["waiting"]:
            first, last = min(room["waiting"].values()), max(room["waiting"].values())
            count = len(room["waiting"])
            text = f"{issuer}: {count} wait for a limit; the next order may be sent {moment(first, now)}"
            yield text + (f", the last {moment(last, now)}" if count > 1 else "")


def trouble(row: Mapping[str, Any]) -> str:
    """Return what is wrong with a host; empty when nothing is."""
    told = [*row.get("alarms", ()), *([row["last_error"]] if row["last_error"] else [])]
    return "; ".join(told) or (f"see {row['explanation_url']}" if row["explanation_url"] else "")


def _cells(name: str, row: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    return name, row["state"], _away(row["not_after"], now), _away(row["renew_at"], now), row["issuer"] or "-"


def _notes(row: Mapping[str, Any], now: datetime) -> list[str]:
    found = [one] if (one := trouble(row)) else []
    return [*found, f"next try {moment(row['next_try'], now)}"] if row["next_try"] else found


def _away(text: str | None, now: datetime) -> str:
    return distance(datetime.fromisoformat(text) - now) if text else "-"


def _cut(text: str, most: int) -> str:
    most = max(most, 12)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _summary(document: Document) -> str:
    hosts = document["hosts"]
    needing = sorted(name for name, row in hosts.items() if row["needs_a_person"])
    count = "1 host" if len(hosts) == 1 else f"{len(hosts):,} hosts"
    if needing:
        begin = "" if len(needing) == 1 else " begin with"
        verb = "needs" if len(needing) == 1 else "need"
        return f"{len(needing):,} of {count} {verb} you:{begin} proxyd explain {needing[0]}"
    if not document["ok"]:
        return "This machine needs you: see above."
    return f"{count}, all well." if hosts else "No host has a certificate yet."
