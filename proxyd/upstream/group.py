"""The upstreams of one host: who gets the next request, and who is left out."""

import logging
from collections.abc import Collection, Sequence
from math import ceil
from time import monotonic

from proxyd.config.upstream_trust import UpstreamTlsError
from proxyd.core.balance import Balance, Policy
from proxyd.core.passive_health import OUT_SECONDS
from proxyd.upstream.connection import UpstreamError
from proxyd.upstream.dialer import ConnectFailed
from proxyd.upstream.pool import UpstreamPool

#: Told to clients where it depends on our checks, and on files that a reload reads again.
_CHECKED_SECONDS, _MENDED_SECONDS = 10, 30
_log = logging.getLogger("proxyd.upstream")


class UpstreamGroup:
    """Picks an upstream for a request. One that is alone is not left out for failures: nobody could take its place."""

    __slots__ = ("_balance", "_is_alone", "_only", "pools")

    def __init__(self, pools: Sequence[UpstreamPool], policy: Policy = "least_conn") -> None:
        self.pools = tuple(pools)
        self._balance = Balance(policy)
        self._is_alone = len(self.pools) == 1
        self._only = self.pools[0] if self._is_alone and self.pools[0].checked is None else None

    def pick(self, client: str, tried: Collection[UpstreamPool] = ()) -> UpstreamPool | None:
        """Return where a request from the address `client` goes, which was not `tried`; None: nobody is available."""
        only = self._only
        if only is not None:
            return only if only.active < only.most and not tried else None
        return self._choose(client, tried)

    def failed(self, pool: UpstreamPool, error: UpstreamError) -> None:
        """Note that a request could not be served by `pool`."""
        if not isinstance(error, ConnectFailed):  # those the pool has counted
            pool.errors[error.kind] += 1
        if not self._is_alone and pool.passive.failed(monotonic(), refused=isinstance(error, ConnectFailed)):
            extra = {"upstream": pool.name, "reason": str(error), "seconds": f"{OUT_SECONDS:g}"}
            _log.warning("upstream failed three times in a row: it is left out", extra=extra)

    def worked(self, pool: UpstreamPool) -> None:
        """Note that `pool` answered."""
        if pool.passive.worked():
            _log.info("upstream answers again", extra={"upstream": pool.name})

    def is_available(self) -> bool:
        """Return whether the next request has somewhere to go, or may at least be tried."""
        now = monotonic()
        return any(_is_available(pool) and (self._is_alone or pool.passive.admits(now)) for pool in self.pools)

    def is_full(self) -> bool:
        """Return whether an upstream has as many requests under way as it may have."""
        return any(pool.active >= pool.most for pool in self.pools)

    def unavailable(self) -> tuple[str, int]:
        """Return why nobody is available, and in how many seconds it is worth to ask again."""
        now = monotonic()
        found = [_absence(pool, now) for pool in self.pools]
        reasons = "; ".join(why for why, _ in found if why)
        return f"no upstream is available: {reasons or 'none is set'}", min((one[1] for one in found), default=1)

    def _choose(self, client: str, tried: Collection[UpstreamPool]) -> UpstreamPool | None:
        now = monotonic()
        sure: list[UpstreamPool] = []
        unsure: list[UpstreamPool] = []
        for pool in self.pools:
            if pool in tried or not _is_available(pool) or not (self._is_alone or pool.passive.admits(now)):
                continue
            is_checked = pool.checked is not None and pool.checked.is_healthy is None
            (unsure if is_checked else sure).append(pool)
        candidates = sure or unsure
        if not candidates:
            # All were restarted at once, perhaps: who came back serves again within a second.
            candidates = [pool for pool in self.pools if pool not in tried and _may_be_back(pool, now)][:1]
        if not candidates:
            return None
        pool = candidates[0] if len(candidates) == 1 else self._balance.choose(candidates, client)
        pool.passive.taken(now)
        return pool


def _is_available(pool: UpstreamPool) -> bool:
    return (
        pool.active < pool.most
        and (pool.checked is None or pool.checked.is_healthy is not False)
        and not isinstance(pool.dialer.trust, UpstreamTlsError)
    )


def _may_be_back(pool: UpstreamPool, now: float) -> bool:
    return _is_available(pool) and pool.passive.admits_as_last(now)


def _absence(pool: UpstreamPool, now: float) -> tuple[str, int]:
    trust = pool.dialer.trust
    if isinstance(trust, UpstreamTlsError):
        return pool.dialer.why_unverifiable(trust), _MENDED_SECONDS
    if pool.checked is not None and pool.checked.is_healthy is False:
        return f"{pool.name} fails its health checks", _CHECKED_SECONDS
    if not pool.passive.admits(now):
        left = ceil(pool.passive.out_until - now)
        return f"{pool.name} failed three times in a row and is tried again in {left} s", max(1, left)
    if pool.active >= pool.most:
        return f"{pool.name} has {pool.under_way} requests under way (max_upstream_connections)", 1
    return "", 1
