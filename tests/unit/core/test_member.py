"""What a restart reads of a certificate's schedule, right and damaged."""

import json
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.certificate_state import Blocked, Dormant, Ready, Waiting
from proxyd.core.explanation import explain
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.member import Member
from proxyd.core.renewal import RenewalWindow, Validity
from proxyd.core.status import host_statuses
from tests.support.strategies import NOW, damaged, json_values

CA = "https://ca.example/dir"
HOST = Hostname("a.example")
LINEAGE = Lineage(host=HOST, names=(HOST,), key_kind="p256")
PLAN = Plan(lineage=LINEAGE, issuers=(CA,), challenges=("tls-alpn-01", "http-01"), fingerprint="1")
HELD = Held(
    validity=Validity(not_before=NOW - timedelta(days=30), not_after=NOW + timedelta(days=60)),
    serial=1,
    cert_id="x",
    issuer=CA,
    is_owned=True,
)
FAILURE = Failure(kind=FailureKind.VALIDATION, message="no", problem="dns", challenge="http-01")
WINDOW = RenewalWindow(cert_id="x", start=NOW, end=NOW + timedelta(days=2))
DOCUMENTS: list[dict[str, Any]] = [
    Member(plan=PLAN, state=state, tried=("http-01",), worked="http-01").document()
    for state in (
        Waiting(retry_at=NOW, failures=3, failure=FAILURE),
        Blocked(probe_at=NOW, failures=3, failure=FAILURE),
        Dormant(since=NOW, probe_at=NOW, failures=3, failure=FAILURE),
        Ready(renew_at=NOW, window=WINDOW),
    )
]


@given(st.sampled_from(DOCUMENTS).flatmap(damaged) | st.dictionaries(st.text(max_size=9), json_values), st.booleans())
def test_no_document_stops_a_host(document: dict[str, Any], has_certificate: bool) -> None:
    """Whatever the journal holds: the host is shown, explained, and ordered within eight days or when it is due."""
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    fleet.authority(CA)
    fleet.update([PLAN], NOW)
    fleet.restore(LINEAGE, document, NOW)
    if has_certificate:
        fleet.found(LINEAGE, HELD, NOW)
    facts = fleet.facts()
    assert json.dumps(host_statuses(facts, NOW)[HOST].to_document())
    assert explain(HOST, facts, [], NOW, profiles={})
    kept = json.loads(json.dumps(fleet.document(LINEAGE)))
    fleet.restore(LINEAGE, kept, NOW)
    wake = fleet.wake_at(windows=False)
    assert wake is not None
    latest = HELD.validity.not_after if has_certificate else NOW + timedelta(days=8)
    assert wake <= latest
    fleet.clock_righted(NOW)
    assert any(task.lineage == LINEAGE for task in fleet.tasks(max(NOW, latest), 1, 0))


def test_what_is_kept_is_read_again() -> None:
    for document in DOCUMENTS:
        member = Member(plan=PLAN)
        member.restore(json.loads(json.dumps(document)))
        if member.known_window is None:
            assert member.document() == document
        else:
            assert member.known_window == WINDOW
