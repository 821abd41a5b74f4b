"""Fields of responses that make browsers careful. Header lines are blocks: each line follows a CRLF."""

from collections.abc import Callable

_STRICT = b"\r\nstrict-transport-security:"
_POLICY = b"\r\ncontent-security-policy:"
_NO_SNIFF = b"\r\nx-content-type-options:", b"\r\nX-Content-Type-Options: nosniff"
_FRAMES = b"\r\nx-frame-options:", b"\r\nX-Frame-Options: SAMEORIGIN"
_REFERRER = b"\r\nreferrer-policy:", b"\r\nReferrer-Policy: strict-origin-when-cross-origin"


class SecurityFields:
    """Of one host. `strict` returns the line of Strict-Transport-Security, or nothing; `protects`: all the others."""

    __slots__ = ("_protects", "_strict")

    def __init__(self, *, strict: Callable[[], bytes] | None = None, protects: bool = False) -> None:
        self._strict = strict
        self._protects = protects

    def applied(self, block: bytes, *, is_secure: bool) -> bytes:
        """Return the block with them. `is_secure`: the client came by TLS.

        Ours is the only Strict-Transport-Security, and there is none over http (RFC 6797 §6.1, §7.1, §7.2); of the
        others what the upstream says holds.
        """
        lower = block.lower()
        if self._strict is not None:
            strict = self._strict() if is_secure else b""
            if _STRICT in lower and (strict or not is_secure):
                lines = block.split(b"\r\n")
                block = b"\r\n".join(line for line in lines if not (b"\r\n" + line.lower()).startswith(_STRICT))
            block += strict
        if self._protects:
            for name, line in (_NO_SNIFF, _REFERRER):
                if name not in lower:
                    block += line
            if _FRAMES[0] not in lower and not _says_who_may_frame(lower):
                block += _FRAMES[1]
        return block


def _says_who_may_frame(lower: bytes) -> bool:
    """Return whether a Content-Security-Policy does, which browsers heed in the place of X-Frame-Options."""
    if _POLICY not in lower:
        return False
    policies = (line for line in lower.split(b"\r\n") if (b"\r\n" + line).startswith(_POLICY))
    directives = (
        one for line in policies for policy in line.partition(b":")[2].split(b",") for one in policy.split(b";")
    )
    return any(one.split()[:1] == [b"frame-ancestors"] for one in directives)
