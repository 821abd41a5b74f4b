"""What was counted, for people: upstreams with their health, and the traffic of all clients."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate
from typing import Any

from proxyd.core.counters import DURATIONS, Document

_MOST_UPSTREAMS = 20
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def upstream_table(counted: Document, upstreams: Iterable[str]) -> str:
    """Return the upstreams as HTML, those that are left out and those that failed first."""
    told = counted["upstreams"]
    names = sorted(set(upstreams), key=lambda name: (not told.get(name, {}).get("out"), -_failed(told, name), name))
    if not names:
        return '<p class="soft small">There is none.</p>'
    more = len(names) - _MOST_UPSTREAMS
    rest = f'<p class="small soft">and {more:,} more, which fail less: see /metrics</p>' if more > 0 else ""
    rows = "".join(_upstream(name, told.get(name, {})) for name in names[:_MOST_UPSTREAMS])
    head = '<th scope="col">Address</th><th scope="col" class="number">Answers in</th>'
    return f'<table class="small"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}'


def traffic_view(counted: Document) -> str:
    """Return requests, connections and bytes of all clients as HTML."""
    by_class = [sum(counts) for counts in zip(*counted["hosts"].values(), strict=True)] or [0] * 10
    answered = ", ".join(f"{digit}xx {count:,}" for digit, count in enumerate(by_class) if count)
    under_way = max(0, counted["begun"] - sum(counted["durations"]) - counted["tunnels_begun"])
    open_now = sum(counted["accepted"].values()) - sum(counted["closed"].values())
    facts = [
        ("Requests answered", f"{sum(by_class):,}"),
        *([("of them", answered)] if answered else []),
        *([("Half of them within", speed)] if (speed := _share(counted["durations"], 0.5)) else []),
        *([("99 of 100 within", speed)] if (speed := _share(counted["durations"], 0.99)) else []),
        ("Under way now", f"{under_way:,}"),
        ("Connections open", f"{open_now:,}"),
        ("Tunnels open", f"{counted['tunnels_begun'] - counted['tunnels_ended']:,}"),
        ("Received, sent", f"{_bytes(counted['received'])}, {_bytes(counted['sent'])}"),
    ]
    return facts_list(facts)


def host_traffic(counts: Sequence[int]) -> str:
    """Return the answers of one host as HTML; `counts` by the first digit of their status."""
    shown = [(f"{digit}xx", f"{count:,}") for digit, count in enumerate(counts) if count]
    return facts_list(shown) if shown else '<p class="soft small">No request since the start.</p>'


def facts_list(facts: Iterable[tuple[str, str]]) -> str:
    """Return names with their values as HTML."""
    rows = (f'<div><dt class="soft">{escape(name)}</dt><dd>{escape(value)}</dd></div>' for name, value in facts)
    return f'<dl class="facts small">{"".join(rows)}</dl>'


def _upstream(name: str, one: Document) -> str:
    state = '<span class="state bad">left out</span>' if one.get("out") else '<span class="state good">healthy</span>'
    said = [state]
    if in_flight := one.get("in_flight"):
        said.append(f"{in_flight:,} under way")
    errors = [f"{kind.replace('_', ' ')} {count:,}" for kind, count in sorted(one.get("errors", {}).items())]
    said += [f"failures: {', '.join(errors)}"] if errors else []
    answers = one.get("answers", 0)
    mean = _seconds(one["seconds"] / answers) if answers else "-"
    return (
        f'<tr><th scope="row">{escape(name)}<br><span class="soft">{", ".join(said)}</span></th>'
        f'<td class="number">{mean}</td></tr>'
    )


def _failed(told: Document, name: str) -> int:
    errors: dict[str, int] = told.get(name, {}).get("errors", {})
    return sum(errors.values())


def _share(durations: Sequence[int], share: float) -> str:
    """Return within what time so many requests were over, by the buckets that they were counted in."""
    total = sum(durations)
    if not total:
        return ""
    for bound, count in zip(DURATIONS, accumulate(durations), strict=False):
        if count >= share * total:
            return _seconds(bound)
    return f"more than {_seconds(DURATIONS[-1])}"


def _seconds(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} µs"


def _bytes(count: Any) -> str:
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 10 else f"{size:.1f} {_UNITS[unit]}"
