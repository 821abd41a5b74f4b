"""Why a certificate is revoked (RFC 5280 §5.3.1): the reasons that a subscriber may give to an ACME CA."""

KEY_COMPROMISE = 1
#: The others are for CAs, for holds that nobody uses, or for delta lists.
REASONS = {
    "unspecified": 0,
    "keyCompromise": KEY_COMPROMISE,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "privilegeWithdrawn": 9,
}


def parse_reason(written: str) -> int:
    """Return the code of a reason by its name, in any case, or its number. Raises ValueError with what there is."""
    codes = {name.lower(): code for name, code in REASONS.items()} | {str(code): code for code in REASONS.values()}
    if (code := codes.get(written.strip().lower())) is not None:
        return code
    known = ", ".join(f"{name} ({code})" for name, code in REASONS.items())
    raise ValueError(f"{written!r} is no reason: write one of {known}")


def reason_name(code: int) -> str:
    """Return the name of a code."""
    return next((name for name, one in REASONS.items() if one == code), str(code))
