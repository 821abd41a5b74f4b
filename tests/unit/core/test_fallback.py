"""Which failures send a host to its next CA, and what they say of the one before."""

from datetime import UTC, datetime
from random import Random

from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage, Plan
from proxyd.core.task import OrderTask

NOW = datetime(2027, 1, 1, tzinfo=UTC)
FIRST, SECOND = "https://one.example/dir", "https://two.example/dir"


def plan(host: str, *issuers: str) -> Plan:
    name = Hostname(host)
    return Plan(lineage=Lineage(host=name, names=(name,), key_kind="p256"), issuers=issuers, challenges=("http-01",))


def fleet_of(*plans: Plan) -> Fleet:
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    fleet.update(plans, NOW)
    return fleet


def orders(fleet: Fleet) -> dict[str, OrderTask]:
    return {task.lineage.host.text: task for task in fleet.tasks(NOW, 16) if isinstance(task, OrderTask)}


def test_a_ca_that_this_machine_cannot_ask_for_a_host_has_a_fallback_and_is_down_for_nobody() -> None:
    unable = [plan(f"{one}.example", FIRST, SECOND) for one in "abcd"]
    fleet = fleet_of(*unable, plan("other.example", FIRST))
    failure = Failure(kind=FailureKind.LOCAL, message="acme.ca_bundle cannot be used", is_of_one_ca=True)
    sent = orders(fleet)
    for one in unable:
        fleet.failed(sent[one.lineage.host.text], failure, NOW)
    assert not fleet.authority(FIRST).is_spared(NOW)
    again = orders(fleet)
    assert {host: task.issuer for host, task in again.items()} == dict.fromkeys(
        map("{}.example".format, "abcd"), SECOND
    )


def test_what_concerns_every_ca_has_no_fallback() -> None:
    fleet = fleet_of(plan("a.example", FIRST, SECOND))
    fleet.failed(orders(fleet)["a.example"], Failure(kind=FailureKind.LOCAL, message="disk full"), NOW)
    assert not orders(fleet)
