"""Which certificates there shall be, and what is known of the one that serves."""

from dataclasses import dataclass, field

from proxyd.core.hostname import Hostname
from proxyd.core.key_family import KeyFamily, key_family
from proxyd.core.renewal import Validity


@dataclass(frozen=True, slots=True, order=True)
class Lineage:
    """The certificates that follow each other for the same names and key kind; `host` names the files."""

    host: Hostname
    names: tuple[Hostname, ...]
    key_kind: str
    _hash: int = field(init=False, repr=False, compare=False)  # agendas and tables ask for it at every step

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.host, self.names, self.key_kind)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def key_family(self) -> KeyFamily:
        return key_family(self.key_kind)

    def __str__(self) -> str:
        return f"{self.host} ({self.key_kind})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a lineage is obtained: CAs and challenge types in the order of preference."""

    lineage: Lineage
    issuers: tuple[str, ...]
    challenges: tuple[str, ...]
    on_demand: bool = False  # not listed: a client asked for it
    fingerprint: str = ""  # of everything else that the CA is told: a change ends a block


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The certificate that serves. `issuer` is the CA of our configuration that gave it, None when unknown.

    `is_owned`: our account at that CA ordered it, the one at `account` (None: its URL was not kept).
    `cert_id` is empty when it has none (RFC 9773 §4.1).
    `signed_by`: what the certificate itself says of its issuer, for people.
    """

    validity: Validity
    serial: int
    cert_id: str
    issuer: str | None
    is_owned: bool
    account: str | None = None
    signed_by: str = ""
    key_kind: str = ""
