from datetime import UTC, datetime, timedelta
from random import Random

from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.renewal import Validity
from proxyd.core.task import OrderTask, WindowTask

NOW = datetime(2027, 1, 1, tzinfo=UTC)
CA = "https://ca.example/dir"


def lineage(number: int) -> Lineage:
    host = Hostname(f"host{number}.example.com")
    return Lineage(host=host, names=(host,), key_kind="p256")


def fleet_of(count: int) -> Fleet:
    """Every host has a certificate of our account; the last one has none."""
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    fleet.authority(CA)
    fleet.manage([Plan(lineage=lineage(one), issuers=(CA,), challenges=("http-01",)) for one in range(count)], NOW)
    for one in range(count - 1):
        validity = Validity(not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=89))
        held = Held(validity=validity, serial=one, cert_id=f"ari{one}", issuer=CA, is_owned=True)
        fleet.found(lineage(one), held, NOW)
    return fleet


def test_after_a_restart_the_windows_of_a_fleet_are_asked_for_a_few_at_a_time() -> None:
    fleet = fleet_of(21)
    asked: list[WindowTask] = []
    for _ in range(3):
        tasks = [task for task in fleet.tasks(NOW, 0, 8) if isinstance(task, WindowTask)]
        assert len(tasks) <= 8
        asked += tasks
    assert {task.lineage for task in asked} == {lineage(one) for one in range(20)}
    assert not fleet.tasks(NOW, 0, 8)


def test_windows_that_are_due_keep_no_order_waiting() -> None:
    fleet = fleet_of(21)
    (task,) = fleet.tasks(NOW, 4, 0)
    assert isinstance(task, OrderTask)
    assert task.lineage == lineage(20)
    assert fleet.wake_at(windows=False) is not None
    assert fleet.wake_at() == NOW


def test_an_answer_about_the_leaf_before_does_not_end_the_questions_about_the_new_one() -> None:
    fleet = fleet_of(2)
    (task,) = [task for task in fleet.tasks(NOW, 0) if isinstance(task, WindowTask)]
    validity = Validity(not_before=NOW, not_after=NOW + timedelta(days=90))
    new = Held(validity=validity, serial=77, cert_id="new", issuer=CA, is_owned=True)
    fleet.found(task.lineage, new, NOW)
    fleet.window(task.lineage, task.cert_id, None, None, NOW)
    (again,) = [task for task in fleet.tasks(NOW, 0) if isinstance(task, WindowTask)]
    assert again.cert_id == "new"
