"""What CAA records allow (RFC 8659 §4)."""

import pytest

from proxyd.core.caa import CaaRecord, permits

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
