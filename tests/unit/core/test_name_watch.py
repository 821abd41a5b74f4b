"""A mend ends the wait, once; nothing that goes to and fro burns the budget."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.caa import CaaRecord
from proxyd.core.hostname import Hostname
from proxyd.core.name_view import NameView, Port80, Reached
from proxyd.core.name_watch import EVERY, NameWatch

NAME = Hostname("shop.example.com")
T0 = datetime(2027, 1, 1, tzinfo=UTC)


def view(*addresses: str, port80: Port80 = Port80.CLOSED, caa: tuple[str, ...] = ()) -> NameView:
    return NameView(
        addresses=tuple(sorted(addresses)),
        caa=tuple(CaaRecord(0, "issue", one) for one in caa),
        reached=tuple(Reached(one, port80, "") for one in addresses),
    )


SILENT = NameView(addresses=None, caa=None, trouble="timeout")


def looked(*views: NameView, watch: NameWatch | None = None, start: datetime = T0) -> list[int]:
    """Look every 30 s; return at which looks an order was wanted."""
    chosen = watch or NameWatch(T0)
    return [number for number, one in enumerate(views) if chosen.look({NAME: one}, start + number * EVERY)]


def test_the_first_look_is_the_measure() -> None:
    assert looked(view("192.0.2.1"), view("192.0.2.1")) == []


def test_new_addresses_a_new_caa_record_and_an_opened_port_end_the_wait() -> None:
    assert looked(view("192.0.2.1"), view("192.0.2.2")) == [1]
    assert looked(view(), view("192.0.2.2")) == [1]
    assert looked(view("192.0.2.1", "2001:db8::1"), view("192.0.2.1")) == [1]
    assert looked(view("192.0.2.1", caa=("other.example",)), view("192.0.2.1")) == [1]
    assert looked(view("192.0.2.1", caa=("other.example",)), view("192.0.2.1", caa=("ca.example",))) == [1]
    assert looked(view("192.0.2.1"), view("192.0.2.1", port80=Port80.OURS)) == [1]
    assert looked(SILENT, view("192.0.2.1")) == [1]


def test_addresses_that_are_only_not_answered_this_time_mend_nothing() -> None:
    both, one = view("192.0.2.1", "2001:db8::1"), view("192.0.2.1")
    part = replace(one, trouble="no answer for AAAA")
    assert looked(both, part, part, both, part) == []
    assert looked(part, both) == [1]
    assert looked(part, replace(view("192.0.2.2"), trouble="no answer for AAAA")) == [1]


def test_what_became_worse_does_not() -> None:
    assert looked(view("192.0.2.1", port80=Port80.OURS), view("192.0.2.1")) == []
    assert looked(view("192.0.2.1"), view(), SILENT, view("192.0.2.1")) == []


def test_one_change_is_one_order_until_that_failed_too() -> None:
    watch = NameWatch(T0)
    assert watch.look({NAME: view("192.0.2.1")}, T0) is None
    wake = watch.look({NAME: view("192.0.2.2")}, T0 + EVERY)
    assert wake
    assert [str(change) for change in wake.changes] == [f"addresses of {NAME}: 192.0.2.1 -> 192.0.2.2"]
    assert looked(*[view("192.0.2.2")] * 20, watch=watch, start=T0 + 2 * EVERY) == []


def test_a_fix_that_goes_back_to_addresses_seen_before_is_noticed_when_it_stands() -> None:
    right, wrong = view("192.0.2.1"), view("192.0.2.2")
    watch = NameWatch(T0)
    assert looked(right, wrong, watch=watch) == [1]
    watch.failed(T0 + EVERY)
    assert looked(*[right] * 8, watch=watch, start=T0 + 2 * EVERY) == [1]
    # The same after an order of the schedule found none, and for CAA.
    watch = NameWatch(T0)
    assert looked(right, view(), watch=watch) == []
    watch.failed(T0 + EVERY)
    assert looked(*[right] * 8, watch=watch, start=T0 + 2 * EVERY) == [1]
    closed = view("192.0.2.1", caa=("other.example",))
    watch = NameWatch(T0)
    assert looked(right, closed, watch=watch) == [1]
    watch.failed(T0 + EVERY)
    assert looked(*[right] * 8, watch=watch, start=T0 + 2 * EVERY) == [1]


def test_what_comes_back_by_turns_ends_no_wait_and_leaves_some_of_the_day_for_what_is_new() -> None:
    one, two = view("192.0.2.1"), view("192.0.2.2")
    assert looked(*[one, two] * 60) == [1]
    watch, wakes = NameWatch(T0), 0
    for number in range(20 * 120):  # each stands for five minutes, and each order fails
        now = T0 + number * EVERY
        if watch.look({NAME: two if number // 10 % 2 else one}, now):
            wakes += 1
            watch.failed(now + timedelta(seconds=3))
    assert wakes <= 9
    assert watch.look({NAME: view("192.0.2.3")}, T0 + timedelta(hours=20))


def test_a_failed_order_after_a_change_is_tried_once_more_a_minute_later() -> None:
    """The CA's resolver may have kept the old answer."""
    watch = NameWatch(T0)
    now = T0 + EVERY
    watch.look({NAME: view()}, T0)
    assert watch.look({NAME: view("192.0.2.2")}, now)
    watch.failed(now + timedelta(seconds=3))
    wakes = []
    for second in range(4, 600):
        moment = now + timedelta(seconds=second)
        if watch.is_due(moment) and (wake := watch.look({NAME: view("192.0.2.2")}, moment)):
            assert wake.changes == ()
            wakes.append(second)
            watch.failed(moment + timedelta(milliseconds=500))
    assert len(wakes) == 1
    assert 60 <= wakes[0] <= 70


def test_a_change_while_no_process_ran_is_noticed() -> None:
    watch = NameWatch(T0)
    watch.look({NAME: view("192.0.2.1")}, T0)
    kept = json.loads(json.dumps(watch.to_document()))
    later = T0 + timedelta(hours=5)
    assert NameWatch.read(kept, [NAME], later).look({NAME: view("192.0.2.1")}, later) is None
    assert NameWatch.read(kept, [NAME], later).look({NAME: view("192.0.2.9")}, later)


def test_a_clock_that_is_set_back_does_not_stop_the_looks() -> None:
    watch = NameWatch(T0)
    watch.look({NAME: view("192.0.2.1")}, T0)
    assert not watch.is_due(T0 + timedelta(seconds=5))
    assert watch.is_due(T0 - timedelta(days=3650))


views = st.one_of(
    st.just(SILENT),
    st.builds(
        view,
        st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]),
        port80=st.sampled_from(Port80),
        caa=st.lists(st.sampled_from(["a.example", "b.example"]), max_size=2).map(tuple),
    ),
    st.builds(view),
)


@given(st.lists(st.tuples(views, st.booleans(), st.booleans()), max_size=400))
def test_no_dns_that_goes_to_and_fro_burns_the_budget(steps: list[tuple[NameView, bool, bool]]) -> None:
    watch, wakes = NameWatch(T0), []
    for number, (seen, fails, restarts) in enumerate(steps):
        now = T0 + number * EVERY
        if watch.look({NAME: seen}, now):
            wakes.append(now)
        if fails:
            watch.failed(now)
        if restarts:
            watch = NameWatch.read(json.loads(json.dumps(watch.to_document())), [NAME], now)
    for at in wakes:
        assert sum(1 for one in wakes if at <= one < at + timedelta(hours=1)) <= 3
        assert sum(1 for one in wakes if at <= one < at + timedelta(hours=24)) <= 10


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(T0.isoformat()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("failing_since", "failed_at", "elsewhere_since", "last_request", "base", "seen", "wakes", "returns", "again_at")


@given(st.dictionaries(st.sampled_from(KEYS), junk | st.dictionaries(st.just(NAME.text), junk)))
def test_a_broken_document_reads_as_less(document: dict[str, object]) -> None:
    watch = NameWatch.read(document, [NAME], T0)
    watch.look({NAME: view("192.0.2.1")}, T0)
    assert watch.failing_since <= T0


def test_pointing_elsewhere_counts_from_the_first_such_look_and_ends_with_the_first_other() -> None:
    watch = NameWatch(T0)
    then = {NAME: ("192.0.2.1",)}
    watch.look({NAME: view("198.51.100.9")}, T0)
    watch.point_elsewhere(then, T0)
    watch.look({NAME: SILENT}, T0 + EVERY)
    watch.point_elsewhere(then, T0 + EVERY)
    assert watch.elsewhere_since == T0  # silence proves nothing
    watch.look({NAME: view("192.0.2.1", "192.0.2.7")}, T0 + 2 * EVERY)
    watch.point_elsewhere(then, T0 + 2 * EVERY)
    assert watch.elsewhere_since is None


@pytest.mark.parametrize("behind", [timedelta(days=30), timedelta(days=-30)])
def test_nothing_lasts_for_a_week_only_because_the_clock_was_wrong(behind: timedelta) -> None:
    watch = NameWatch(T0 - behind)
    watch.look({NAME: view()}, T0 - behind)
    watch.point_elsewhere({}, T0 - behind)
    righted = watch.righted([NAME], T0)
    assert righted.failing_since == T0
    assert righted.elsewhere_since in (T0, None)
    righted.look({NAME: view()}, T0 + EVERY)
    righted.point_elsewhere({}, T0 + EVERY)
    assert righted.elsewhere_since is not None
    assert righted.elsewhere_since >= T0


def test_a_name_whose_addresses_were_never_known_leaves_only_by_having_none() -> None:
    watch = NameWatch(T0)
    watch.look({NAME: view("198.51.100.9")}, T0)
    watch.point_elsewhere({NAME: ()}, T0)
    assert watch.elsewhere_since is None
    watch.look({NAME: view()}, T0 + EVERY)
    watch.point_elsewhere({NAME: ()}, T0 + EVERY)
    assert watch.elsewhere_since == T0 + EVERY
