"""Fields that a user sets and removes, applied to a block of header lines: each line follows a CRLF."""

from collections.abc import Iterable, Mapping

from proxyd.core.field_names import without_aliases


class HeaderChange:
    """What is set replaces every line of that name and comes at the end; what is removed goes.

    `aliases`: names that an application may take for the same go too: CGI and its heirs read X_User and X-User as one.
    """

    __slots__ = ("_added", "_aliases", "_gone")

    def __init__(self, fields: Mapping[str, str], removed: Iterable[str] = (), *, aliases: bool = False) -> None:
        self._aliases = aliases
        self._added = b"".join(b"\r\n%b: %b" % (name.encode(), value.encode()) for name, value in fields.items())
        self._gone = frozenset(self._same(name.encode()) for name in (*fields, *removed))

    def __bool__(self) -> bool:
        return bool(self._gone)

    def applied(self, block: bytes) -> bytes:
        """Return the block with the change made; other lines stay as they were written."""
        if not block:
            return self._added
        first, *lines = block.split(b"\r\n")
        kept = [line for line in lines if self._same(line.partition(b":")[0]) not in self._gone]
        return b"\r\n".join([first, *kept]) + self._added

    def adding(self, lines: bytes) -> "HeaderChange":
        """Return the same change with header lines at the end, whatever else is there under their names."""
        other = HeaderChange({}, aliases=self._aliases)
        other._added, other._gone = self._added + lines, self._gone
        return other

    def _same(self, name: bytes) -> bytes:
        return without_aliases(name) if self._aliases else name.lower()
