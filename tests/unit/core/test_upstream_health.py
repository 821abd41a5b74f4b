"""When an upstream is left out, and when it is back."""

from proxyd.core.active_health import ActiveHealth
from proxyd.core.passive_health import PassiveHealth


def test_three_failures_in_a_row_take_an_upstream_out_for_ten_seconds() -> None:
    health = PassiveHealth()
    assert [health.failed(100), health.failed(100)] == [False, False]
    assert health.admits(100)
    assert health.failed(101)  # said once
    assert not health.failed(101)
    assert not health.admits(110.9)
    assert health.admits(111)


def test_a_success_between_failures_counts_anew() -> None:
    health = PassiveHealth()
    for _ in range(5):
        health.failed(1)
        health.failed(1)
        assert not health.worked()
    assert health.admits(1)


def test_one_probe_follows() -> None:
    health = PassiveHealth()
    for _ in range(3):
        health.failed(100)
    assert health.admits(110)
    health.taken(110)
    assert not health.admits(110)  # the probe is under way
    assert not health.failed(111)
    assert not health.admits(120.9)
    assert health.admits(121)
    health.taken(121)
    assert health.worked()
    assert health.admits(121)
    health.taken(121)  # no probe any more: all may go
    assert health.admits(121)


def test_a_probe_whose_client_left_is_followed_by_another() -> None:
    health = PassiveHealth()
    for _ in range(3):
        health.failed(100)
    health.taken(110)
    assert not health.admits(119.9)
    assert health.admits(120)


def test_one_that_refused_may_be_tried_sooner_when_nobody_else_is_there() -> None:
    health = PassiveHealth()
    for refused in (False, False, True):
        health.failed(100, refused=refused)
    assert [health.admits_as_last(now) for now in (100.9, 101)] == [False, True]
    health.taken(101)
    assert [health.admits_as_last(now) for now in (101.9, 102)] == [False, True]
    health.failed(102)  # it took a request and did not answer: the next one would be lost as well
    assert not health.admits_as_last(111)
    assert health.admits(112)


def verdicts(health: ActiveHealth, *checks: bool) -> list[bool | None]:
    found = []
    for passed in checks:
        before = health.is_healthy
        assert health.record(passed) == (health.is_healthy is not before)
        found.append(health.is_healthy)
    return found


def test_the_first_check_decides_alone() -> None:
    assert ActiveHealth(fails=3, passes=2).is_healthy is None
    assert verdicts(ActiveHealth(fails=3, passes=2), False) == [False]
    assert verdicts(ActiveHealth(fails=3, passes=2), True) == [True]


def test_later_it_takes_so_many_in_a_row() -> None:
    health = ActiveHealth(fails=3, passes=2)
    assert verdicts(health, True, False, False, True, False, False) == [True] * 6
    assert verdicts(health, False) == [False]
    assert verdicts(health, True, False, True) == [False] * 3
    assert verdicts(health, True) == [True]
