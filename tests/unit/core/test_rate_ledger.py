"""The mirror of the CA's limits against a CA that counts by itself."""

import json
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.hostname import Hostname
from proxyd.core.rate_ledger import CaLimits, RateLedger
from proxyd.core.token_bucket import Limit
from tests.support.strategies import NOW, damaged, json_values

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LIMITS = CaLimits(
    orders=Limit(6, 3 * HOUR),
    certificates_per_domain=Limit(4, 7 * DAY),
    duplicates=Limit(2, 7 * DAY),
    failures=Limit(2, HOUR),
    accounts=Limit(2, 3 * HOUR),
)
NAMES = [Hostname(name) for name in ("a.one.example", "b.one.example", "two.example")]
ORDERS = st.builds(
    lambda names, is_renewal, replaces: CertificateOrder(
        host=names[0], names=tuple(names), key_kind="p256", is_renewal=is_renewal, replaces=replaces
    ),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True),
    st.booleans(),
    st.none() | st.just("ari"),
)
#: Minutes after the one before, the order, and how it ends.
STORY = st.lists(
    st.tuples(st.integers(0, 2000), ORDERS, st.sampled_from(["issued", "failed", "invalid", "not sent", "restart"])),
    max_size=50,
)


def domain(name: Hostname) -> str:
    return name.text.partition(".")[2] if name.text.count(".") > 1 else name.text


def new_ledger() -> RateLedger:
    return RateLedger(LIMITS, registered_domain=domain)


def restarted(ledger: RateLedger, now: datetime) -> RateLedger:
    again = new_ledger()
    again.read_document(json.loads(json.dumps(ledger.to_document(now))), now)
    return again


@given(STORY)
def test_the_ca_never_has_to_refuse(story: list[tuple[int, CertificateOrder, str]]) -> None:
    """What counts at the CA stays, in every window, within a full bucket and its refill."""
    ledger, now = new_ledger(), NOW
    counted: dict[tuple[str, str], tuple[Limit, list[datetime]]] = {}

    def count(kind: str, of: str, limit: Limit) -> None:
        counted.setdefault((kind, of), (limit, []))[1].append(now)

    for minutes, order, end in story:
        now += minutes * MINUTE
        if end == "restart":
            ledger = restarted(ledger, now)
        refusal = ledger.refusal(order, now)
        if order.is_exempt:
            assert refusal is None
        if refusal is not None:
            assert now < refusal.until <= now + 7 * DAY
            assert str(refusal)
            continue
        ledger.spend(order, now)
        if end == "not sent":
            ledger.not_sent(order)
            continue
        if not (order.is_exempt or order.is_renewal):
            count("orders", "", LIMITS.orders)
        if end in ("failed", "invalid"):
            ledger.failed(order, now, validation=end == "invalid")
            for name in order.names if end == "invalid" and not order.is_exempt else ():
                count("failures", name.text, LIMITS.failures)
        elif not order.is_exempt:
            count("duplicates", ",".join(sorted(name.text for name in order.names)), LIMITS.duplicates)
            for one in set() if order.is_renewal else {domain(name) for name in order.names}:
                count("domain", one, LIMITS.certificates_per_domain)
    for limit, times in counted.values():
        for first, start in enumerate(times):
            for last, at in enumerate(times[first:], first):
                assert last - first + 1 <= limit.count + (at - start) / limit.refill + 1e-9


@given(STORY, st.lists(st.integers(0, 20_000), max_size=5))
def test_a_restart_changes_nothing(story: list[tuple[int, CertificateOrder, str]], later: list[int]) -> None:
    ledger, now = new_ledger(), NOW
    for minutes, order, end in story:
        now += minutes * MINUTE
        ledger.spend(order, now)
        if end == "invalid":
            ledger.failed(order, now, validation=True)
    again = restarted(ledger, now)
    for at in [now, *(now + minutes * MINUTE for minutes in later)]:
        assert again.available(at) == ledger.available(at)
        for order in {order for _, order, _ in story}:
            assert again.refusal(order, at) == ledger.refusal(order, at)


@given(
    STORY,
    st.timedeltas(timedelta(0), timedelta(days=10)),
    st.sampled_from(["orders", "domain", "duplicates", "failures"]),
)
def test_what_the_ca_says_is_believed_and_frees_nothing(
    story: list[tuple[int, CertificateOrder, str]], said: timedelta, limit: str
) -> None:
    ledger = new_ledger()
    for _, order, _ in story:
        ledger.spend(order, NOW)
    order = CertificateOrder(host=NAMES[0], names=(NAMES[0],), key_kind="p256")
    before = ledger.refusal(order, NOW)
    ledger.refused(order, limit, NOW + said)
    after = ledger.refusal(order, NOW)
    if said > timedelta(0):
        assert after is not None
        assert after.until >= NOW + said
    if before is not None:
        assert after is not None
        assert after.until >= before.until


@given(
    damaged({f"{kind} {name}": NOW.isoformat() for kind, name in [("orders", "account"), ("failures", "two.example")]})
)
def test_a_damaged_document_never_raises_and_starves_nobody(document: dict[str, object]) -> None:
    ledger = new_ledger()
    ledger.read_document(document, NOW)
    ledger.available(NOW)
    again = restarted(ledger, NOW)
    for name in NAMES:
        order = CertificateOrder(host=name, names=(name,), key_kind="p256")
        refusal = again.refusal(order, NOW)
        assert refusal is None or refusal.until <= NOW + 7 * DAY


@given(st.dictionaries(st.text(max_size=12), json_values, max_size=4))
def test_any_document_never_raises(document: dict[str, object]) -> None:
    ledger = new_ledger()
    ledger.read_document(document, NOW)
    assert ledger.new_account(NOW) is None


@given(st.lists(st.integers(0, 200), max_size=30))
def test_accounts_have_a_limit_too(waits: list[int]) -> None:
    ledger, now = new_ledger(), NOW
    made: dict[int, int] = defaultdict(int)
    for minutes in waits:
        now += minutes * MINUTE
        if ledger.new_account(now) is None:
            made[int((now - NOW) / (3 * HOUR))] += 1
    assert all(count <= 4 for count in made.values())


def test_orders_that_gave_nothing_by_a_wrong_clock_are_not_certificates_when_it_is_right() -> None:
    ledger, order = new_ledger(), CertificateOrder(host=NAMES[0], names=(NAMES[0],), key_kind="p256")
    ahead = NOW + 30 * DAY
    for number in range(3):
        ledger.spend(order, ahead + number * HOUR)
        ledger.failed(order, ahead + number * HOUR, validation=False)
    ledger.settle(NOW)
    refused = ledger.refusal(order, NOW + 3 * HOUR)  # the orders are clamped to a budget that comes back by then
    assert refused is None


def test_a_limit_of_one_domain_of_an_order_is_no_limit_of_its_others() -> None:
    both = CertificateOrder(host=NAMES[0], names=(NAMES[0], NAMES[2]), key_kind="p256")
    first, second = (CertificateOrder(host=name, names=(name,), key_kind="p256") for name in both.names)
    for kind, name in (("domain", domain(NAMES[0])), ("failures", NAMES[0].text)):
        ledger = new_ledger()
        ledger.refused(both, kind, NOW + 3 * DAY, of=(name,))
        assert ledger.refusal(first, NOW) is not None
        assert ledger.refusal(second, NOW) is None
        ledger.refused(both, kind, NOW + 3 * DAY, of=("unheard.example",))  # nobody's that we know: all wait
        assert ledger.refusal(second, NOW) is not None


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 500), st.integers(0, 200))
def test_other_limits_change_nothing_of_what_was_spent(old: int, new: int, spent: int, minutes: int) -> None:
    def limits(count: int) -> CaLimits:
        return replace(LIMITS, orders=Limit(count, 3 * HOUR), certificates_per_domain=Limit(10**6, 7 * DAY))

    ledger = RateLedger(limits(old), registered_domain=domain)
    for number in range(min(spent, old)):
        name = Hostname(f"n{number}.example")
        ledger.spend(CertificateOrder(host=name, names=(name,), key_kind="p256"), NOW)
    now = NOW + minutes * MINUTE
    missing = old - ledger.available(now)["orders_left"]
    ledger.allow(limits(new), now)
    left = ledger.available(now)
    assert left["orders_limit"] == new
    assert abs(left["orders_left"] - max(0, new - missing)) <= 1  # parts of orders


def test_the_cas_own_no_outlives_other_limits() -> None:
    order = CertificateOrder(host=NAMES[0], names=(NAMES[0],), key_kind="p256")
    ledger = new_ledger()
    ledger.refused(order, "orders", NOW + 2 * DAY)
    ledger.allow(replace(LIMITS, orders=Limit(1000, 3 * HOUR)), NOW)
    refusal = ledger.refusal(order, NOW)
    assert refusal is not None
    assert refusal.until == NOW + 2 * DAY


@pytest.mark.parametrize("kind", ["orders", "domain", "failures"])
def test_a_short_no_of_the_ca_outlives_other_limits_and_what_is_given_back(kind: str) -> None:
    order = CertificateOrder(host=NAMES[0], names=(NAMES[0],), key_kind="p256")
    until, ledger = NOW + 10 * MINUTE, new_ledger()
    ledger.refused(order, kind, until)
    ledger.failed(order, NOW, validation=False)
    assert ledger.refusal(order, NOW) is not None
    more = {one: Limit(60, limit.period) for one, limit in LIMITS.by_kind.items()}
    others = replace(LIMITS, orders=more["orders"], certificates_per_domain=more["domain"], failures=more["failures"])
    ledger.allow(others, NOW)
    for _ in range(2):
        refusal = ledger.refusal(order, NOW)
        assert refusal is not None
        assert refusal.until == until
        assert ledger.refusal(order, until) is None
        again = RateLedger(others, registered_domain=domain)
        again.read_document(ledger.to_document(NOW), NOW, ledger.limits_document())
        ledger = again


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 48), st.integers(0, 500), st.integers(0, 200))
def test_a_restart_with_other_limits_is_a_reload_with_them(
    old: int, new: int, hours: int, spent: int, minutes: int
) -> None:
    before = replace(LIMITS, orders=Limit(old, 3 * HOUR))
    after = replace(LIMITS, orders=Limit(new, hours * HOUR))
    ledger, again = (RateLedger(one, registered_domain=domain) for one in (before, after))
    for number in range(min(spent, old)):
        name = Hostname(f"n{number}.example")
        ledger.spend(CertificateOrder(host=name, names=(name,), key_kind="p256"), NOW)
    now = NOW + minutes * MINUTE
    again.read_document(ledger.to_document(now), now, json.loads(json.dumps(ledger.limits_document())))
    ledger.allow(after, now)
    assert again.to_document(now) == ledger.to_document(now)


@given(st.dictionaries(st.sampled_from(["orders", "failures", "no"]), damaged({"count": 300, "seconds": 10800.0})))
def test_damaged_limits_never_raise_and_starve_nobody(limits: dict[str, object]) -> None:
    for at in (NOW + HOUR, datetime.max.replace(tzinfo=NOW.tzinfo)):
        kept = [f"{kind} {name}" for kind in ("orders", "no orders", "no", "failures") for name in ("account", "x")]
        ledger = new_ledger()
        ledger.read_document(dict.fromkeys(kept, at.isoformat()), NOW, limits)
        order = CertificateOrder(host=NAMES[0], names=(NAMES[0],), key_kind="p256")
        refusal = ledger.refusal(order, NOW)
        assert refusal is None or refusal.until <= NOW + 7 * DAY
