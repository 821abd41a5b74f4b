"""What checks of our own tell of an upstream."""


class ActiveHealth:
    """`is_healthy` is None before the first check, which decides alone; then it takes `fails` or `passes` in a row."""

    __slots__ = ("_fails", "_passes", "_streak", "is_healthy")

    def __init__(self, *, fails: int, passes: int) -> None:
        self.is_healthy: bool | None = None
        self._fails = fails
        self._passes = passes
        self._streak = 0

    def record(self, passed: bool) -> bool:
        """Note a check; return whether the verdict is another one now."""
        if passed is self.is_healthy:
            self._streak = 0
            return False
        self._streak += 1
        if self.is_healthy is not None and self._streak < (self._passes if passed else self._fails):
            return False
        self.is_healthy, self._streak = passed, 0
        return True
