"""When files that changed are read again: not while they are being written, and not for ever."""

from collections.abc import Mapping

#: How often a file is looked for that is gone: editors and deployments write it again in a moment.
_LOOKS_FOR_GONE = 5

Stamps = Mapping[str, object]


class FileWatch:
    """Looks at how files are, once in a while. `main` is the one that there must be."""

    def __init__(self) -> None:
        self._before: Stamps | None = None
        self._tried: Stamps | None = None
        self._looks = 0

    @property
    def is_unsettled(self) -> bool:
        """Return whether the last look saw a change that the next one may find finished."""
        return self._before is not None

    def has_changed(self, now: Stamps, read: Stamps, *, main: str) -> bool:
        """Return whether to read again: `now` is another state than was `read`, it stays so, and was not tried yet."""
        if now in (read, self._tried):
            self._before = None
            if now == read:
                self._tried = None
            return False
        if now != self._before:
            self._before, self._looks = now, 0
            return False
        self._looks += 1
        if main not in now and self._looks < _LOOKS_FOR_GONE:
            return False
        self._before, self._tried = None, now
        return True
