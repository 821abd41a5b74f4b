"""Text for a person at a terminal: columns, colours only there, nothing that a stranger could make it do."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime

from proxyd.core.moment import distance

_COLOURS = {
    "ready": "32",
    "manual": "32",
    "ordering": "36",
    "waiting": "33",
    "dormant": "2",
    "blocked": "31",
    "missing": "31",
}
_NARROWEST = 20


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their heads; on a terminal the last column ends at its edge."""
    cells = [[printable(one) for one in row] for row in (head, *rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(head) - 1)]
    on_terminal = is_terminal()
    left = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths)
    for row in cells:
        last = row[-1]
        if on_terminal and len(last) > max(left, _NARROWEST):
            last = last[: max(left, _NARROWEST) - 1] + "…"
        padded = [one.ljust(width) for one, width in zip(row, widths, strict=False)]
        if has_colours():
            padded = [_coloured(one) for one in padded]
        print("  ".join([*padded, last]).rstrip())


def is_terminal() -> bool:
    """Return whether a person reads what is printed."""
    return sys.stdout.isatty()


def has_colours() -> bool:
    """Return whether colours are wanted: on a terminal that has them, unless NO_COLOR is set (no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def columns() -> int:
    """Return how many characters a line of the terminal has."""
    return max(shutil.get_terminal_size().columns, 2 * _NARROWEST)


def printable(text: str) -> str:
    """Return one line without control characters: what a CA or a damaged file says must not drive the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def moment(text: str | None, now: datetime) -> str:
    """Return an RFC 3339 time as a person reads it: the day, and how far away it is."""
    if not text:
        return "-"
    at = datetime.fromisoformat(text)
    return f"{at:%Y-%m-%d %H:%M} ({distance(at - now)})"


def bold(text: str) -> str:
    """Return a heading."""
    return f"\x1b[1m{printable(text)}\x1b[0m" if has_colours() else printable(text)


def coloured(state: str, *, urgent: bool = False) -> str:
    """Return the name of a state, with the spaces after it, in its colour; `urgent`: in that of trouble."""
    text = printable(state)
    if not has_colours():
        return text
    return f"\x1b[{_COLOURS['missing']}m{text}\x1b[0m" if urgent else _coloured(text)


def faint(text: str) -> str:
    """Return what matters less."""
    return f"\x1b[2m{printable(text)}\x1b[0m" if has_colours() else printable(text)


def wrapped(text: str, *, indent: str) -> str:
    """Return a line, on a terminal broken at its width."""
    if not is_terminal():
        return indent + text
    then = indent + "  "
    return textwrap.fill(text, columns(), initial_indent=indent, subsequent_indent=then, break_on_hyphens=False)


def _coloured(padded: str) -> str:
    colour = _COLOURS.get(padded.rstrip())
    return f"\x1b[{colour}m{padded}\x1b[0m" if colour else padded
