"""How long the body of an HTTP/1.1 message is (RFC 9112 §6.3): a count of bytes, or one of the constants."""

from typing import Final

NO_BODY: Final = 0
CHUNKED: Final = -1
#: Responses only: everything until the connection closes.
UNTIL_CLOSE: Final = -2
_MAX_DIGITS = 18  # fits a signed 64-bit integer, which is what the strictest reader behind us has


def content_length(value: bytes) -> int:
    """Return what a Content-Length without surrounding white space says. Raises ValueError.

    A list of equal values, which RFC 9110 §8.6 lets a recipient repair, is refused: who repairs guesses.
    """
    if not value.isdigit() or len(value) > _MAX_DIGITS:  # bytes.isdigit() knows ASCII digits only
        raise ValueError("Content-Length is not a number")
    return int(value)
