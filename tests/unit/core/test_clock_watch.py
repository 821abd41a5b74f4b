"""Which time to go by while the wall clock says what it likes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.clock_watch import TOLERANCE, ClockWatch
from proxyd.core.renewal import Validity

RELEASED = datetime(2026, 11, 24, tzinfo=UTC)
NOW = datetime(2027, 6, 1, tzinfo=UTC)
YEARS = timedelta(days=3650)
DAY = timedelta(days=1)


class Machine:
    """A watch with the clocks it looks at; `truth` is what time it really is."""

    def __init__(self, start: datetime = NOW) -> None:
        self.truth = start
        self.wrong = timedelta(0)
        self.up = 0.0
        self.watch = ClockWatch(start, self.up, released=RELEASED)

    @property
    def wall(self) -> datetime:
        return self.truth + self.wrong

    def sleep(self, span: timedelta) -> None:
        self.truth += span
        self.up += span.total_seconds()

    def now(self) -> datetime:
        return self.watch.now(self.wall, self.up)

    def reason(self) -> str:
        doubt = self.watch.doubt(self.wall, self.up)
        return doubt.reason if doubt else ""

    def holds(self) -> bool:
        doubt = self.watch.doubt(self.wall, self.up)
        return doubt is not None and doubt.holds

    def dated(self, date: datetime | None = None, by: str = "ca") -> None:
        self.watch.dated(by, date or self.truth, self.wall, self.up)


@pytest.mark.parametrize("jump", [YEARS, -YEARS, 2 * TOLERANCE, -2 * TOLERANCE])
def test_a_jump_changes_nothing_and_is_said(jump: timedelta) -> None:
    machine = Machine()
    machine.wrong = jump
    machine.sleep(DAY)
    assert machine.now() == machine.truth
    assert "timedatectl" in machine.reason()
    assert ("jumped ahead" if jump > timedelta(0) else "jumped back") in machine.reason()
    assert not machine.holds()
    machine.wrong = timedelta(0)  # set right again
    assert machine.now() == machine.truth
    assert machine.reason() == ""
    assert machine.watch.steps == 0


@pytest.mark.parametrize("step", [timedelta(minutes=20), -timedelta(minutes=20), timedelta(seconds=-3)])
def test_what_ntp_corrects_is_followed_at_once(step: timedelta) -> None:
    machine = Machine()
    for _ in range(10):
        machine.wrong += step
        assert machine.now() == machine.wall
        assert machine.reason() == ""


def test_a_machine_that_slept_is_no_jump() -> None:
    machine = Machine()
    machine.sleep(100 * DAY)
    assert machine.now() == machine.wall
    assert machine.reason() == ""


def test_a_ca_confirms_the_new_time() -> None:
    """A machine that booted with the time of its last shutdown, months ago, and has reached NTP now."""
    machine = Machine()
    machine.truth += 90 * DAY  # without anything that elapsed
    assert machine.now() == NOW
    machine.dated()
    assert machine.now() == machine.truth
    assert machine.reason() == ""
    assert machine.watch.steps == 1


def test_a_ca_confirms_the_time_before() -> None:
    machine = Machine()
    machine.wrong = YEARS
    machine.dated()
    assert machine.now() == machine.truth
    assert "jumped" in machine.reason()  # somebody has to set it all the same
    assert not machine.holds()


def test_a_clock_before_the_release_is_not_asked_about_and_given_up_at_once() -> None:
    machine = Machine(datetime(1970, 1, 1, tzinfo=UTC))
    doubt = machine.watch.doubt(machine.wall, machine.up)
    assert doubt is not None
    assert doubt.holds
    assert not doubt.asks
    assert "before this program was made" in doubt.reason
    machine.wrong = NOW - machine.truth
    assert machine.now() == NOW
    assert machine.reason() == ""
    assert machine.watch.steps == 1


def held(begin: datetime, days: int = 90) -> list[Validity]:
    return [Validity(not_before=begin, not_after=begin + days * DAY)]


def test_a_certificate_from_the_future_holds_until_a_ca_confirms() -> None:
    machine = Machine()
    machine.watch.found(held(NOW + 30 * DAY))
    assert machine.holds()
    assert "was made on 2027-07-01" in machine.reason()
    machine.dated()
    assert not machine.holds()
    assert machine.reason() == ""


def test_a_machine_that_was_off_for_years_goes_on_when_a_ca_confirms() -> None:
    machine = Machine()
    machine.watch.found(held(NOW - 600 * DAY))
    assert machine.holds()
    assert "ended on 2026-01-07" in machine.reason()
    machine.dated()
    assert not machine.holds()


def test_certificates_that_ran_out_lately_are_no_sign() -> None:
    machine = Machine()
    machine.watch.found(held(NOW - 300 * DAY))
    assert not machine.holds()


def test_a_certificate_without_an_end_is_no_sign() -> None:
    machine = Machine()
    machine.watch.found([Validity(not_before=NOW, not_after=datetime.max.replace(tzinfo=UTC))])
    assert not machine.holds()


def test_a_ca_from_before_the_release_is_not_believed() -> None:
    machine = Machine()
    machine.wrong = -YEARS
    machine.dated(machine.wall)
    assert machine.now() == machine.truth
    assert not machine.holds()


def test_a_ca_that_contradicts_holds_until_another_agrees() -> None:
    machine = Machine()
    machine.wrong = timedelta(0)
    machine.dated(NOW + YEARS, by="broken")
    assert machine.holds()
    assert "behind the CA's (broken)" in machine.reason()
    machine.dated(by="right")
    assert not machine.holds()
    machine.dated(NOW + YEARS, by="broken")
    assert not machine.holds()


def test_the_ca_that_confirmed_may_contradict_later() -> None:
    """A machine whose state was put back: nothing elapsed for it, and its clock is a month late."""
    machine = Machine()
    machine.dated()
    machine.truth, machine.wrong = machine.truth + 30 * DAY, -30 * DAY
    machine.dated()
    assert machine.holds()
    assert "behind the CA's" in machine.reason()
    machine.wrong = timedelta(0)  # NTP
    assert machine.now() == machine.truth
    assert not machine.holds()


SPANS = st.timedeltas(min_value=timedelta(days=-4000), max_value=timedelta(days=4000))


@given(st.lists(st.tuples(st.timedeltas(timedelta(0), timedelta(days=30)), SPANS, st.booleans())))
def test_whatever_the_wall_says_a_time_that_was_right_stays_right(
    story: list[tuple[timedelta, timedelta, bool]],
) -> None:
    machine = Machine()
    machine.dated()
    for span, wrong, asked in story:
        machine.sleep(span)
        machine.wrong = wrong if abs(wrong) > TOLERANCE else timedelta(0)
        if asked:
            machine.dated()
        assert machine.now() == machine.truth
        assert not machine.holds()
        assert (machine.reason() == "") is (machine.wrong == timedelta(0))
    assert machine.watch.steps == 0


@given(SPANS.map(lambda span: NOW + span), SPANS, SPANS)
def test_a_right_wall_and_a_ca_end_every_doubt(start: datetime, wrong: timedelta, age: timedelta) -> None:
    machine = Machine(start)
    machine.watch.found(held(NOW + age))
    machine.now()
    machine.truth, machine.wrong = NOW, wrong
    machine.now()
    machine.wrong = timedelta(0)
    machine.dated()
    assert machine.now() == NOW
    assert machine.reason() == ""
