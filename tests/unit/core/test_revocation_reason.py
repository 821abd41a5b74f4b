import pytest

from proxyd.core.revocation_reason import parse_reason, reason_name


@pytest.mark.parametrize(
    ("written", "code"), [("keyCompromise", 1), ("KEYCOMPROMISE", 1), ("1", 1), (" superseded ", 4), ("0", 0)]
)
def test_names_and_numbers(written: str, code: int) -> None:
    assert parse_reason(written) == code
    assert parse_reason(reason_name(code)) == code


@pytest.mark.parametrize("written", ["", "7", "cACompromise", "2", "-1", "key compromise", "certificateHold"])
def test_what_no_subscriber_says(written: str) -> None:
    with pytest.raises(ValueError, match=r"write one of unspecified \(0\), keyCompromise \(1\)"):
        parse_reason(written)
