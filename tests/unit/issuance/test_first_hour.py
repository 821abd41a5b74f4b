"""A broken host costs fewer than five failed validations in its first hour, however often the daemon restarts."""

from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage, Plan
from proxyd.core.rate_ledger import LETS_ENCRYPT, CaLimits
from proxyd.core.task import OrderTask
from proxyd.issuance.memory import Memory
from proxyd.store.journal import Journal
from tests.support.clock import FakeClock

CA = "https://ca.example/dir"
HOST = Hostname("broken.example.test")
LINEAGE = Lineage(host=HOST, names=(HOST,), key_kind="p256")
PLAN = Plan(lineage=LINEAGE, issuers=(CA,), challenges=("tls-alpn-01", "http-01"))
_HOUR, _STEP = timedelta(hours=1), timedelta(seconds=15)


class _Life:
    """One run of the daemon: nothing but the journal outlives it."""

    def __init__(self, path: Path, clock: FakeClock, limits: CaLimits | None, seed: int) -> None:
        self._clock, now = clock, clock.now()
        self._memory = Memory(Journal(path, clock=clock), clock=clock)
        self._memory.open()
        self._fleet = Fleet(rng=Random(seed), registered_domain=lambda name: name.text)
        self._memory.recall_authority(self._fleet.authority(CA, limits), now)
        self._fleet.update([PLAN], now)
        self._memory.recall(self._fleet, LINEAGE, now)

    def fail_what_is_due(self) -> int:
        """Return how many validations failed."""
        failed, now = 0, self._clock.now()
        while tasks := [one for one in self._fleet.tasks(now, 4) if isinstance(one, OrderTask)]:
            for task in tasks:
                kind = task.challenges[0]
                failure = Failure(kind=FailureKind.VALIDATION, message=f"{HOST}: no", challenge=kind)
                self._fleet.failed(task, failure, now)
                self._memory.keep_lineage(self._fleet, LINEAGE)
                self._memory.keep_authority(self._fleet.authority(CA), now)
                failed += 1
        return failed

    def end(self) -> None:
        self._memory.close()


@pytest.mark.parametrize("limits", [LETS_ENCRYPT, None], ids=["Let's Encrypt", "a CA without known limits"])
@pytest.mark.parametrize("restart_every", [timedelta(seconds=15), timedelta(minutes=4), timedelta(hours=2)])
def test_restarts_win_no_failed_validation(tmp_path: Path, limits: CaLimits | None, restart_every: timedelta) -> None:
    clock, failed, restarted = FakeClock(), 0, timedelta(0)
    life, end = _Life(tmp_path / "journal.sqlite3", clock, limits, 0), clock.now() + _HOUR
    for number in range(1, 1 + _HOUR // _STEP):
        failed += life.fail_what_is_due()
        clock.advance(_STEP)
        restarted += _STEP
        if restarted >= restart_every:
            life.end()
            life, restarted = _Life(tmp_path / "journal.sqlite3", clock, limits, number), timedelta(0)
    life.end()
    assert clock.now() == end
    assert failed == 4  # both challenge types at once, one after 1 and one after 11 minutes
