"""Says how many names were refused under each wildcard host: one line a minute, however many there were."""

import asyncio
import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace

from proxyd.core.clock import Clock
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.refusal import Refusal
from proxyd.issuance.memory import Memory

_log = logging.getLogger("proxyd.on_demand")
_GATHER, _INTERVAL = 1.0, 60.0
_NAMES = 1000
_REPEATED = " lately"  # reasons that end so only repeat the one before


@dataclass(slots=True)
class _Tally:
    reasons: Counter[str] = field(default_factory=Counter)
    last_name: str = ""
    last_detail: str = ""


class RefusalReport:
    """Counts, and tells log and journal. Bounded by the patterns of the configuration and the kinds of reasons.

    Of the last thousand names it knows why, for `proxyd explain`.
    """

    def __init__(self, memory: Memory, *, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock
        self._latest: OrderedDict[Hostname, Refusal] = OrderedDict()
        self._tallies: dict[HostPattern, _Tally] = {}
        self._some = asyncio.Event()

    def count(self, pattern: HostPattern, host: Hostname, reason: str, detail: str = "") -> None:
        """Count a refusal; `detail` of the last one is shown."""
        tally = self._tallies.setdefault(pattern, _Tally())
        tally.reasons[reason] += 1
        tally.last_name, tally.last_detail = host.text, detail or tally.last_detail
        self._some.set()
        before = self._latest.pop(host, None)
        refusal = Refusal(at=self._clock.now(), reason=reason, detail=detail)
        self._latest[host] = replace(before, at=refusal.at) if before and reason.endswith(_REPEATED) else refusal
        if len(self._latest) > _NAMES:
            self._latest.popitem(last=False)
        _log.debug("refused a name on demand", extra={"host": host, "reason": reason, "detail": detail})

    def latest(self, host: Hostname) -> Refusal | None:
        """Return why a client that asked for `host` was sent away the last time, as far as it is remembered."""
        return self._latest.get(host)

    async def run(self) -> None:
        """Write what was counted, for ever. Ends only by cancellation; writes the rest then."""
        try:
            while True:
                await self._some.wait()
                await asyncio.sleep(_GATHER)
                self._write()
                await asyncio.sleep(_INTERVAL)
        finally:
            self._write()

    def _write(self) -> None:
        tallies, self._tallies = self._tallies, {}
        self._some.clear()
        for pattern, tally in tallies.items():
            refused = sum(tally.reasons.values())
            reasons = ", ".join(f"{reason}: {count}" for reason, count in tally.reasons.most_common())
            shown = {"refused": refused, "reasons": reasons, "last": tally.last_name}
            if tally.last_detail:
                shown["detail"] = tally.last_detail
            _log.info("names were refused on demand", extra={"host": pattern, **shown})
            self._memory.note("refused on demand", Hostname(pattern.text), None, **shown)
