"""What the header blocks of a connection have in common: a client that asks again changes few of its lines."""

from collections.abc import Collection
from dataclasses import dataclass

from proxyd.core.field_names import CLEAN
from proxyd.core.request_scanner import RequestBlock

_LINE_END = b"\r\n"
#: With more lines that differ a scan costs as much.
_MOST_FREE = 6


@dataclass(frozen=True, slots=True)
class BlockPattern:
    """A block in which the values of some lines may be others: lines that are passed on and mean nothing to us.

    Make it by `pattern_of`. What fits says to us what the `block` says: all else is the same, byte for byte. `free`:
    the places of those lines, `before`: what stands before each value, `after` the last; `template`: a format of the
    lines for the upstream.
    """

    block: RequestBlock
    free: Collection[int]
    before: tuple[bytes, ...]
    after: bytes
    template: bytes

    def read(self, lines: bytes) -> bytes | None:
        """Return the lines for the upstream, or None: these do not fit, and may be malformed."""
        values = []
        start = 0
        for before in self.before:
            if not lines.startswith(before, start):
                return None
            start += len(before)
            end = lines.find(_LINE_END, start)
            if end < 0:
                end = len(lines)
            values.append(lines[start:end])
            start = end
        text = b"".join(values)
        if lines[start:] != self.after or text.translate(CLEAN) != text:
            return None
        return self.template % tuple(values)


def pattern_of(
    last: bytes, lines: bytes, block: RequestBlock, kept: bytes, free: Collection[int] = ()
) -> BlockPattern | None:
    """Return a pattern of good `lines`, of which a scan made `block` and `kept`.

    What differs from the `last` may differ again, as may lines at the places `free`. None: no line may, or many.
    """
    others, written = last.split(_LINE_END), lines.split(_LINE_END)
    if len(others) != len(written):
        return None
    passed_on = {*kept.split(_LINE_END)}  # equal lines have the same fate
    places: list[int] = []
    before: list[bytes] = []
    fixed = template = b""
    for place in range(1, len(written)):
        line = written[place]
        name = line[: line.index(b":") + 1]
        is_passed_on = line in passed_on
        differs = line != others[place] or place in free
        if differs and is_passed_on and name.lower() != b"user-agent:":
            places.append(place)
            before.append(fixed + _LINE_END + name)
            fixed = b""
            template += b"\r\n%b%%b" % name.replace(b"%", b"%%")
            continue
        fixed += _LINE_END + line
        if is_passed_on:
            template += _LINE_END + line.replace(b"%", b"%%")
    return BlockPattern(block, places, tuple(before), fixed, template) if 0 < len(places) <= _MOST_FREE else None
