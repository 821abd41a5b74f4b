"""The only caller of an Issuer: one loop over due times, bounded concurrency, never two orders for one host."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from proxyd.certs.certificate import Certificate
from proxyd.core.certificate_state import (
    CertificateState,
    Event,
    Failed,
    Missing,
    Obtained,
    Started,
    Waiting,
    due_at,
    step,
)
from proxyd.core.clock import Clock
from proxyd.core.failure import Failure, FailureKind, IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.issuance.issuer import Issuer
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.store import StoreError

_log = logging.getLogger("proxyd.renewer")
_CONCURRENT = 4
_LONGEST_SLEEP = 60.0  # seconds: a clock that was set, or a machine that slept, is noticed after this


class Renewer:
    """Keeps one certificate per managed host alive. `installed` is told of each new one, in the event loop."""

    def __init__(
        self,
        *,
        issuer: Issuer,
        store: CertificateStore,
        installed: Callable[[Hostname, Certificate], None],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._issuer = issuer
        self._store = store
        self._installed = installed
        self._clock = clock
        self._rng = rng
        self._states: dict[Hostname, CertificateState] = {}
        self._running: set[Hostname] = set()
        self._changed = asyncio.Event()

    @property
    def states(self) -> Mapping[Hostname, CertificateState]:
        """Return the state of each managed host."""
        return self._states

    def manage(self, hosts: Iterable[Hostname], certificate: Callable[[Hostname], Certificate | None]) -> None:
        """Take care of exactly these hosts from now on; known ones keep their state (no retry is won by a reload)."""
        wanted = set(hosts)
        for gone in self._states.keys() - wanted:
            del self._states[gone]
        for host in wanted - self._states.keys():
            self._states[host] = Missing()
            if found := certificate(host):
                self._step(host, Obtained(not_before=found.not_before, not_after=found.not_after))
        self._changed.set()

    async def run(self) -> None:
        """Order what is due, for ever. Ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                now = self._clock.now()
                for host in self._due(now):
                    self._running.add(host)
                    self._step(host, Started())
                    group.create_task(self._order(host))
                timeout = self._seconds_to_next(now)
                try:
                    async with asyncio.timeout(timeout):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def _due(self, now: datetime) -> list[Hostname]:
        """Return what may start now, longest overdue first, within the bound."""
        times = ((due_at(state, now), host) for host, state in self._states.items() if host not in self._running)
        due = sorted((at, host) for at, host in times if at is not None and at <= now)
        return [host for _, host in due[: max(0, _CONCURRENT - len(self._running))]]

    def _seconds_to_next(self, now: datetime) -> float:
        if len(self._running) >= _CONCURRENT:
            return _LONGEST_SLEEP  # the end of an order wakes us
        times = (due_at(state, now) for host, state in self._states.items() if host not in self._running)
        waits = ((at - now).total_seconds() for at in times if at is not None)
        return max(0.0, min(min(waits, default=_LONGEST_SLEEP), _LONGEST_SLEEP))

    async def _order(self, host: Hostname) -> None:
        try:
            certificate = await self._issuer.issue(host)
        except IssuanceError as error:
            self._failed(host, error.failure)
        except Exception as error:  # noqa: BLE001 - the root of this task: one host's bug must not stop the others
            _log.exception("issuing failed in an unforeseen way", extra={"host": host})
            message = f"{host}: {type(error).__name__}, see the log; this is a bug of proxyd"
            self._failed(host, Failure(kind=FailureKind.LOCAL, message=message))
        else:
            await self._keep(host, certificate)
        finally:
            self._running.discard(host)
            self._changed.set()

    async def _keep(self, host: Hostname, certificate: Certificate) -> None:
        try:
            await asyncio.to_thread(self._store.save, host, certificate)
        except StoreError as error:
            _log.error(
                "the new certificate serves, but could not be kept: after a restart it is ordered again",
                extra={"host": host, "reason": str(error)},
            )
        if host not in self._states:  # the host was removed meanwhile
            return
        self._installed(host, certificate)
        self._step(host, Obtained(not_before=certificate.not_before, not_after=certificate.not_after))
        _log.info(
            "certificate issued",
            extra={
                "host": host,
                "issuer": certificate.issuer,
                "serial": f"{certificate.serial:x}",
                "not_after": certificate.not_after,
                "renew_at": due_at(self._states[host], self._clock.now()),
            },
        )

    def _failed(self, host: Hostname, failure: Failure) -> None:
        self._step(host, Failed(failure))
        match self._states.get(host):
            case Waiting(retry_at=retry_at, failures=failures):
                _log.warning(
                    "no certificate",
                    extra={
                        "host": host,
                        "kind": failure.kind.value,
                        "reason": failure.message,
                        "failures": failures,
                        "next_try": retry_at,
                    },
                )
            case _:
                pass

    def _step(self, host: Hostname, event: Event) -> None:
        if host in self._states:
            self._states[host] = step(self._states[host], event, self._clock.now(), self._rng)
