"""The `acme` part of the file: which CA, which account, which challenges."""

from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PositiveInt

from proxyd.config.ask_url import Ask
from proxyd.config.option import Options, option
from proxyd.config.values import Duration, File, Secret
from proxyd.core.internal_ca import INTERNAL, NEW_NAMES_A_DAY
from proxyd.core.key_family import key_family

#: CAs by name: their ACME directories.
SERVERS = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "zerossl": "https://acme.zerossl.com/v2/DV90",
    "google": "https://dv.acme-v02.api.pki.goog/directory",
    "google-staging": "https://dv.acme-v02.test-api.pki.goog/directory",
}
#: A CA allows far less; more is a slip of the pen.
MAX_NEW_PER_DAY = 100_000
Challenge = Literal["tls-alpn-01", "http-01"]
KeyType = Literal["p256", "p384", "rsa2048", "rsa3072", "rsa4096"]
_KEY_TYPES = get_args(KeyType)


def _server(written: str) -> str:
    if written in SERVERS:
        return written
    url = urlsplit(written)
    if url.scheme == "http":
        raise ValueError(f"the CA must be asked over TLS: write https://{written.removeprefix('http://')}")
    if url.scheme != "https" or not url.hostname:
        raise ValueError(f"must be one of {', '.join(SERVERS)} or the https URL of an ACME directory")
    known = {_comparable(url): name for name, url in SERVERS.items()}
    return known.get(_comparable(written), written)  # the same CA, however it is written: with its limits


def _comparable(url: str) -> tuple[str, int, str]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 443, parts.path.rstrip("/")


def _key_type(written: object) -> object:
    """Read a list of one kind as that kind; say what is wrong with others."""
    kinds = written if isinstance(written, list | tuple) else [written]
    if any(kind not in _KEY_TYPES for kind in kinds) or not 1 <= len(kinds) <= 2:
        raise ValueError(f"must be one of {', '.join(_KEY_TYPES)}, or a list of two kinds")
    if len(kinds) == 2 and len({key_family(str(kind)) for kind in kinds}) == 1:
        raise ValueError("the two kinds must be one of p256, p384 and one of rsa2048, rsa3072, rsa4096")
    return kinds[0] if len(kinds) == 1 else tuple(kinds)


def _email(written: str) -> str:
    local, at, domain = written.removeprefix("mailto:").rpartition("@")
    if not (local and at and "." in domain) or any(char.isspace() or char in ",<>?" for char in written):
        raise ValueError("must be one e-mail address, like you@example.com")
    return f"{local}@{domain}"


def _max_new(written: object) -> object:
    if not isinstance(written, int) or isinstance(written, bool) or not 1 <= written <= MAX_NEW_PER_DAY:
        raise ValueError(f"must be a number from 1 to {MAX_NEW_PER_DAY}; to allow no name remove on_demand")
    return written


_key_types = BeforeValidator(_key_type, json_schema_input_type=KeyType | list[KeyType])


class Eab(Options):
    """External account binding (RFC 8555 §7.3.4)."""

    kid: str = option(doc="key identifier from the CA", sample="KID")
    hmac_key: Secret = option(
        doc="the key itself, base64url; or ${ENV_NAME}, file:/path, credential:NAME", sample="${EAB_KEY}"
    )


class DnsChallenge(Options):
    """How TXT records for dns-01 are made."""

    provider: str = option(
        doc="lexicon's names, rfc2136, acme-dns, exec, persist, or package.module:Class", sample="rfc2136"
    )
    credentials: dict[str, Secret] = option(doc="what the provider needs", factory=dict)
    alias: str | None = option(None, "zone that _acme-challenge is delegated to")
    propagation: Duration = option("2m", "how long to wait for the record to be seen")
    wildcard: bool | None = option(None, "one wildcard certificate for all names of a zone")


class OnDemand(Options):
    """Certificates for names under a wildcard host, each when a client first asks for it."""

    ask: Ask | None = option(
        None, "GET ?domain=NAME there, 2xx allows; https, or http to loopback, or unix:/path.sock:/check"
    )
    max_new_per_day: Annotated[int, BeforeValidator(_max_new)] = option(10, "new names in 24 hours, all together")


class CaLimits(Options):
    """How much a CA allows one account; null: as far as known (Let's Encrypt's own numbers), else no limit."""

    orders_per_3h: PositiveInt | None = option(None, "new orders")
    certificates_per_domain_per_7d: PositiveInt | None = option(None, "certificates for a registered domain")
    duplicates_per_7d: PositiveInt | None = option(None, "certificates for the same names")
    failures_per_hour: PositiveInt | None = option(None, "failed validations of a name")
    accounts_per_3h: PositiveInt | None = option(None, "new accounts")


class AcmeOptions(Options):
    """One CA and how to prove to it that the hosts are ours."""

    email: Annotated[str, AfterValidator(_email)] | None = option(None, "contact for the account; optional")
    server: Annotated[str, AfterValidator(_server)] = option(
        "letsencrypt", f"{', '.join(SERVERS)}, or an https URL of an ACME directory"
    )
    ca_bundle: File | None = option(None, "PEM that the CA's own API is verified against (private CA, Pebble)")
    eab: Eab | None = option(None, "{kid: K, hmac_key: SECRET}")
    profile: str | None = option(None, "e.g. shortlived, tlsserver; must be one that the CA offers")
    challenges: tuple[Challenge, ...] = option(
        ("tls-alpn-01", "http-01"), "how control is proved, in this order; what worked comes first the next time"
    )
    dns: DnsChallenge | None = option(None, "{provider: NAME, credentials: {}} for dns-01", today=[None])
    key_type: Annotated[KeyType | tuple[KeyType, KeyType], _key_types] = option(
        "p256", "p256, p384, rsa2048, rsa3072, rsa4096, or a list of an EC and an RSA kind: both are served"
    )
    preferred_chain: str | None = option(None, "name of the root that is preferred, where the CA offers several")
    fallback: tuple["AcmeOptions", ...] = option((), "more CAs, {server: URL, …}, tried in order when the first cannot")
    limits: CaLimits | None = option(None, "{orders_per_3h: 300, …}; null: what is known of the CA")
    on_demand: OnDemand | None = option(None, "{ask: URL, max_new_per_day: 10}, for wildcard hosts")

    @property
    def directory_url(self) -> str:
        return SERVERS.get(self.server, self.server)

    @property
    def is_private(self) -> bool:
        """Whether the CA is the user's own, so that names of any kind may be asked of it."""
        return self.server not in SERVERS

    @property
    def is_internal(self) -> bool:
        """Whether the CA is the one in this program: it has neither account nor challenges, and nobody is asked."""
        return self.server == INTERNAL

    def made_internal(self) -> "AcmeOptions":
        """Return what remains of it at the CA in this program, which no file can name here (`tls.issuer`)."""
        on_demand = self.on_demand or OnDemand(max_new_per_day=NEW_NAMES_A_DAY)
        return AcmeOptions(key_type=self.key_type, on_demand=on_demand).model_copy(
            update={"server": INTERNAL, "challenges": ()}
        )
