"""What must be true of two years. Knows the true time and the whole story, unlike the code that it judges."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta

from proxyd.core.renewal import renew_at
from tests.sim.ca import SimCa, SimCertificate, usual_window
from tests.sim.host import Absence, Away, SimHost
from tests.sim.timeline import DAY, HOUR, START, Span

WEEK = 7 * DAY
#: Two minutes after our resolver shows the fix; the CA may see it a minute later.
PROMISE = timedelta(minutes=2)
#: What came back within the hour has to stand for two looks.
_BACK_SOON = timedelta(seconds=30)
_AN_ORDER = timedelta(seconds=15)
#: Certificates of one lineage in seven days (core/circuit_breaker.py), unless the last tenth of a life has begun.
_MOST_A_WEEK = 6
#: In the day after the loss of the journal a peak may be so many times the mean: where renewals were placed is lost.
_PLACES_LOST = 5
#: From so many hosts on hours are judged, with fewer only days.
_LARGE = 1000


class Judge:
    """Collects what was violated, with the story of the host."""

    def __init__(self, seed: int, ca: SimCa, hosts: Collection[SimHost], clock: list[Span], days: int) -> None:
        self.violations: list[str] = []
        self.renewals: list[datetime] = []
        self.expired = 0  # certificates that ran out for a reason
        self.promises: list[timedelta] = []  # from the fix to the certificate, where it was judged
        self.restarts: list[datetime] = []
        self.losses: list[datetime] = []  # of the journal
        self._seed = seed
        self._ca = ca
        self._hosts = hosts
        self._clock = clock
        self._days = days

    # As it happens

    def issued(self, host: SimHost, made: SimCertificate, now: datetime) -> None:
        """Judge what the new certificate replaces, and how many there were lately."""
        old = host.certificate
        if old is not None:
            if not host.is_misled:
                self.renewals.append(now)
                self.in_vain(host, old, now)
            self.expiry(host, now)
        host.issued_at = [*(at for at in host.issued_at if at > now - WEEK), now]
        ends = old is not None and now >= old.not_after - (old.not_after - old.not_before) / 10
        if len(host.issued_at) > _MOST_A_WEEK and not ends:
            self._violate(f"{host.lineage} had {len(host.issued_at)} certificates in a week", host)

    def in_vain(self, host: SimHost, old: SimCertificate, now: datetime) -> None:
        """Nobody asks for another one in the first third of a life, but the CA that revoked it."""
        is_revoked = any(old.not_before <= at <= now for at in self._ca.revocations)
        if now < old.not_before + 0.3 * (old.not_after - old.not_before) and not is_revoked:
            self._violate(f"{host.lineage} was renewed {now}, {now - old.not_before} after it was issued", host)

    def expiry(self, host: SimHost, now: datetime) -> None:
        """A certificate that ran out is a violation if for two hours in a row nothing stood in the way."""
        old = host.certificate
        if old is None or now < old.not_after:
            return
        due = min(host.tried_at or old.not_after, _latest_due(old))
        absences = [(one.begin, one.end + one.lag) for one in host.absences]
        trouble = sorted([*self._ca.troubles, *absences, *self._clock, *host.excused, *host.refusals])
        free_since, longest = due, timedelta(0)
        for begin, end in trouble:
            if end <= due or begin >= old.not_after:
                continue
            longest = max(longest, begin - free_since)
            free_since = max(free_since, end)
        longest = max(longest, old.not_after - free_since)
        self.expired += 1
        backlog = HOUR * len(self._hosts) / 100
        if longest > 2 * HOUR + backlog:
            self._violate(f"{host.lineage} expired {old.not_after} though all worked for {longest}", host)

    def dormant(self, host: SimHost, now: datetime) -> None:
        """Only who has pointed elsewhere and was not visited for a week may be left alone."""
        absence, visited = host.absence(now), host.last_request(now)
        if absence is None or absence.why not in (Away.ELSEWHERE, Away.GONE) or now - absence.begin < WEEK:
            self._violate(f"{host.lineage} dormant {now} though its names did not leave for a week", host)
        elif visited is not None and now - visited < WEEK:
            self._violate(f"{host.lineage} dormant {now} though clients asked for it", host)

    def ordered_asleep(self, host: SimHost, before: datetime, now: datetime) -> None:
        """A dormant host gets one order a week."""
        if now - before < 0.9 * WEEK:
            self._violate(f"{host.lineage} is dormant, ordered {before} and {now}", host)

    def returned(
        self,
        host: SimHost,
        absence: Absence,
        *,
        is_dormant: bool,
        was_valid: bool,
        failing_since: datetime | None,
        now: datetime,
    ) -> None:
        """Judge, when the promised time is over, a host that failed when its names were mended.

        `was_valid`: it had a certificate then.
        """
        visited = host.last_request(absence.end - HOUR)
        is_unused = visited is None or visited < absence.end - 8 * DAY
        # Of a name that was never validated no address is another one.
        is_away = absence.why is Away.GONE or (absence.why is Away.ELSEWHERE and was_valid)
        left = is_away and is_unused
        if left and failing_since and not is_dormant and absence.begin < failing_since < absence.end - 8 * DAY:
            known = not any(absence.begin - 100 * DAY < at < absence.end for at in self.losses)
            right = not any(begin < absence.end and end > absence.begin for begin, end in self._clock)
            if known and right:
                self._violate(f"{host.lineage} was not dormant {absence.end}", host)
        certificate = host.certificate
        if certificate and certificate.not_before >= absence.end:
            self.promises.append(certificate.not_before - absence.end)
        if self._is_hindered(host, absence, now):
            return
        if certificate is None or certificate.not_before < absence.end:
            self._violate(f"{host.lineage} has no certificate {now - absence.end} after it was mended", host)

    def promise(self, absence: Absence, twins: int) -> datetime:
        """Return until when a host that was mended has to have its certificates."""
        soon = _BACK_SOON if absence.end - absence.begin < HOUR + _BACK_SOON else timedelta(0)
        return absence.end + PROMISE + soon + twins * _AN_ORDER

    def _is_hindered(self, host: SimHost, absence: Absence, now: datetime) -> bool:
        """Whether something else stood in the way, or the budget of wakes and failures was used."""
        storms = [storm.span for storm in self._ca.storms]
        back = absence.end
        return (
            any(begin < now and end > back - HOUR for begin, end in (*self._ca.troubles, *storms, *self._clock))
            or any(begin < now and end > back for begin, end in host.refusals)
            or any(back - timedelta(minutes=1) <= at <= now for at in self.restarts)
            or (host.hindered_at is not None and host.hindered_at > back - HOUR)
            or host.changed_since(back - DAY - HOUR, now) > 2
            or (host.certificate is None and self._ca.is_spent(host.domain, now))
            or sum(1 for at in host.failed_at if at > back - HOUR and at <= back) >= 4
        )

    # At the end

    def end(self) -> list[str]:
        """Return everything that was violated."""
        for host in self._hosts:
            self.expiry(host, START + self._days * DAY)
        for refusal in self._ca.refusals:
            self._violate(f"the CA had to refuse us: {refusal}")
        if self.renewals:
            self._spread()
        else:
            self._violate("nothing was renewed")
        return self.violations

    def _spread(self) -> None:
        spans = [*self._ca.troubles, *(one.span for one in self._ca.storms), *self._clock]
        troubled = [*spans, *((at, at + HOUR * 12) for at in self._ca.revocations)]
        calm = [at for at in self.renewals if not any(a <= at < b + DAY for a, b in troubled)]
        lost = {at for at in calm if any(loss.date() <= at.date() and at < loss + DAY for loss in self.losses)}
        self._peak([at for at in calm if at not in lost], 3)
        self._peak([*lost], _PLACES_LOST)

    def _peak(self, renewals: list[datetime], most: float) -> None:
        mean = len(self.renewals) / self._days
        if not renewals:
            return
        if len(self._hosts) < _LARGE:
            day, peak = Counter(at.date() for at in renewals).most_common(1)[0]
            if peak > most * mean + 5:
                self._violate(f"{peak} renewals on {day}, the mean is {mean:.1f}")
        else:
            hours = Counter(at.replace(minute=0, second=0, microsecond=0) for at in renewals)
            hour, peak = hours.most_common(1)[0]
            if peak > most * mean / 24 + 1:
                self._violate(f"{peak} renewals in the hour of {hour}, the mean is {mean / 24:.1f}")

    def _violate(self, what: str, host: SimHost | None = None) -> None:
        story = "".join(f"\n  {line}" for line in host.story) if host else ""
        self.violations.append(f"seed {self._seed}: {what}{story}")


def _latest_due(certificate: SimCertificate) -> datetime:
    """By the rule, or at the end of the CA's window where that is later; never in the last twentieth."""
    validity = certificate.validity
    _, end = usual_window(certificate)
    return min(max(renew_at(validity, None, 0), end), certificate.not_after - validity.lifetime / 20)
