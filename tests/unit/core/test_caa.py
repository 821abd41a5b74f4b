"""What CAA records allow (RFC 8659 §4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.caa import CaaRecord, permits
from proxyd.core.name_view import NameView, Port80, Reached
from tests.support.strategies import damaged

OURS = ("letsencrypt.org",)


@pytest.mark.parametrize(
    ("records", "wildcard", "allowed"),
    [
        ([], False, True),
        ([CaaRecord(0, "issue", "letsencrypt.org")], False, True),
        ([CaaRecord(0, "issue", " LetsEncrypt.org. ; validationmethods=http-01")], False, True),
        ([CaaRecord(0, "issue", "other.example")], False, False),
        ([CaaRecord(0, "issue", "other.example"), CaaRecord(0, "issue", "letsencrypt.org")], False, True),
        ([CaaRecord(0, "issue", ";")], False, False),
        ([CaaRecord(0, "issue", "")], False, False),
        ([CaaRecord(0, "iodef", "mailto:a@example.com")], False, True),
        ([CaaRecord(0, "issuewild", ";")], False, True),
        ([CaaRecord(0, "issuewild", ";"), CaaRecord(0, "issue", "letsencrypt.org")], True, False),
        ([CaaRecord(0, "issue", "letsencrypt.org")], True, True),
        ([CaaRecord(128, "future", "x"), CaaRecord(0, "issue", "letsencrypt.org")], False, False),
        ([CaaRecord(0, "future", "x")], False, True),
        ([CaaRecord(128, "issue", "letsencrypt.org")], False, True),
    ],
)
def test_permits(records: list[CaaRecord], wildcard: bool, allowed: bool) -> None:
    assert permits(records, OURS, wildcard=wildcard) is allowed


@pytest.mark.parametrize("record", [CaaRecord(0, "issue", 'a "b" c'), CaaRecord(255, "x", "")])
def test_a_record_survives_being_text(record: CaaRecord) -> None:
    assert CaaRecord.parse(str(record)) == record


@pytest.mark.parametrize("text", ["", "0", "0 issue", 'x issue "a"', '²  issue "a"', '0 issue "'])
def test_what_is_no_record_is_none(text: str) -> None:
    assert CaaRecord.parse(text) is None


RECORDS = st.builds(
    CaaRecord, st.integers(0, 255), st.from_regex(r"[a-z0-9]{1,15}", fullmatch=True), st.text(max_size=30)
)


@given(RECORDS)
def test_what_is_kept_is_read_again(record: CaaRecord) -> None:
    assert CaaRecord.parse(str(record)) == record


@given(st.text(max_size=40))
def test_any_text_is_a_record_or_none(text: str) -> None:
    CaaRecord.parse(text)
    assert CaaRecord.parse("9" * 5000 + text) is None


SEEN = NameView(
    addresses=("192.0.2.1",),
    caa=(CaaRecord(0, "issue", "letsencrypt.org"),),
    reached=(Reached("192.0.2.1", Port80.OURS, "ours"),),
    trouble="slow",
)


@given(damaged(SEEN.to_document()))
def test_a_damaged_view_reads_as_less(document: dict[str, object]) -> None:
    view = NameView.read(document)
    assert view is not None
    assert NameView.read(view.to_document()) == view
