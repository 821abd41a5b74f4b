"""Who a client is, as its certificate says."""

from dataclasses import dataclass
from typing import Literal

from proxyd.core.distinguished_name import one_line

#: What of a certificate a header field can tell.
CertificateField = Literal["subject", "issuer", "serial", "san", "fingerprint", "not_after"]
AlternativeKind = Literal["DNS", "email", "URI", "IP"]
#: Between two elements of a list.
_COMMA = {ord(char): f"\\{ord(char):02X}" for char in ', \\"'}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIdentity:
    """Of a certificate that was verified. `subject` and `issuer` as RFC 4514 writes them.

    `serial` and `fingerprint` (SHA-256) in hexadecimal digits; `not_after` as RFC 3339 writes it; `alternatives`: the
    subject alternative names.
    """

    subject: str
    issuer: str
    serial: str
    alternatives: tuple[tuple[AlternativeKind, str], ...]
    fingerprint: str
    not_after: str

    def told(self, field: CertificateField) -> bytes:
        r"""Return the value of a header field: visible ASCII, other bytes as `\XX`; empty: there is nothing to tell.

        In alternative names commas, spaces, quotes and backslashes too: none can look like two.
        """
        match field:
            case "subject":
                return one_line(self.subject)
            case "issuer":
                return one_line(self.issuer)
            case "san":
                return one_line(", ".join(f"{kind}:{name.translate(_COMMA)}" for kind, name in self.alternatives))
            case "serial":
                return self.serial.encode()
            case "fingerprint":
                return self.fingerprint.encode()
            case "not_after":
                return self.not_after.encode()

    def __str__(self) -> str:
        names = self.told("san")
        return (self.told("subject") or names or self.told("fingerprint")).decode()
