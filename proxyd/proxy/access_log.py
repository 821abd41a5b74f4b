"""One line a request, written in batches."""

from collections.abc import Callable
from typing import NamedTuple

from proxyd.core.clock import Clock
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.request_head import RequestHead

_BATCH = 256
_new = tuple.__new__


class AccessRecord(NamedTuple):
    """What one request was and how it ended, at `at` by the monotonic clock.

    The client's bytes are as it sent them: who shows them escapes them. `user`: whom the host's guards let in, if they
    say. `request` is kept as a whole: to take it apart costs less for a batch than in the middle of a request.
    """

    at: float
    seconds: float
    host: Hostname | HostPattern | None
    client: str
    request: RequestHead
    status: int
    sent: int
    request_id: str
    user: str = ""


#: Writes a record out, which ended so many milliseconds after 1970.
Show = Callable[[AccessRecord, int], str]


class AccessLog:
    """Keeps records until `flush`, or until there are many; `write` takes all lines of a batch at once."""

    def __init__(self, show: Show, *, write: Callable[[str], None], clock: Clock) -> None:
        self.show = show
        self._write = write
        self._clock = clock
        self._records: list[AccessRecord] = []

    def record(
        self,
        at: float,
        seconds: float,
        host: Hostname | HostPattern | None,
        client: str,
        request: RequestHead,
        status: int,
        sent: int,
        request_id: str,
        user: str,
    ) -> None:
        """Keep it for the next batch."""
        # Half of what the class itself takes.
        fields = at, seconds, host, client, request, status, sent, request_id, user
        self._records.append(_new(AccessRecord, fields))
        if len(self._records) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        if self._records:
            records, self._records = self._records, []
            # Plain numbers: a sum of datetime and timedelta for each line costs a quarter of the line.
            show, start = self.show, self._clock.now().timestamp() - self._clock.monotonic()
            self._write("".join([f"{show(one, int((start + one.at) * 1000))}\n" for one in records]))
