import json
from datetime import UTC, datetime, timedelta

import pytest

from proxyd.core.certificate_state import Missing
from proxyd.core.held_document import held_documents, read_held
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.renewal import Validity
from proxyd.core.status import Facts

HOST, ALIAS = Hostname("example.com"), Hostname("www.example.com")
LINEAGE = Lineage(host=HOST, names=(HOST, ALIAS), key_kind="p256")
BEGAN = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)


def facts(held: Held | None) -> Facts:
    return Facts(plan=Plan(lineage=LINEAGE, issuers=("ca",), challenges=("http-01",)), state=Missing(), held=held)


@pytest.mark.parametrize(("issuer", "owned"), [("ca", True), (None, False)])
def test_what_was_told_is_what_is_read(issuer: str | None, owned: bool) -> None:
    validity = Validity(not_before=BEGAN, not_after=BEGAN + timedelta(days=90))
    held = Held(validity=validity, serial=2**150, cert_id="a.b", issuer=issuer, is_owned=owned, signed_by="Some CA")
    told = json.loads(json.dumps(held_documents([facts(held), facts(None)])))
    assert read_held(told) == {LINEAGE: held}


@pytest.mark.parametrize("told", [None, {}, [1], [{}], [{"host": "example.com", "names": ["example.com"]}]])
def test_what_another_version_told_is_left_out(told: object) -> None:
    assert read_held(told) == {}


def test_a_broken_serial_is_left_out() -> None:
    validity = Validity(not_before=BEGAN, not_after=BEGAN + timedelta(days=90))
    held = Held(validity=validity, serial=1, cert_id="", issuer=None, is_owned=False)
    (document,) = held_documents([facts(held)])
    assert read_held([{**document, "serial": "no number"}]) == {}
