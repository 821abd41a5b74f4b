"""The options of one host."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema, model_validator

from proxyd.config.acme import AcmeOptions
from proxyd.config.auth_url import Auth
from proxyd.config.client_options import ClientHeaders, ClientMatch
from proxyd.config.header_options import HeaderOptions, RequestField
from proxyd.config.hsts import Hsts, read_hsts
from proxyd.config.option import Options, may_be_off, option, switch
from proxyd.config.program import Program
from proxyd.config.routing import Paths, Redirect
from proxyd.config.values import Count, Duration, File, Name, Networks, Pin, Size, Upstreams, Wait
from proxyd.core.balance import Policy
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.internal_ca import INTERNAL


def _check_path(written: str) -> str:
    if not re.fullmatch(r"/[!-~]*", written):
        raise ValueError("must be a path of your application that begins with /, like /up")
    return written


class Health(Options):
    """Active health checks: below 400 is a pass."""

    path: Annotated[str, AfterValidator(_check_path)] = option("/", "asked of each upstream; below 400 is a pass")
    interval: Wait = option("10s", "between two checks")
    timeout: Wait = option("5s", "for one check")
    fails: Count = option(3, "failures until an upstream is left out")
    passes: Count = option(2, "successes until it is back")


def _without_key_of_defaults(tls: Options) -> None:
    """Have a host's `cert` without a `key` mean that both are in one file, whatever key `defaults` has."""
    if "cert" in tls.model_fields_set:
        tls.model_fields_set.add("key")


class UpstreamTls(Options):
    """TLS towards the upstream; always verified."""

    place: ClassVar[str] = "upstream_tls"

    ca: File | None = option(None, "PEM of the CA")
    cert: File | None = option(None, "our client certificate")
    key: File | None = option(None, "its key")
    server_name: Name | None = option(None, "name to ask for and verify; null: the one in upstream")
    pin: Pin | None = option(None, "sha256:… of the key; replaces chain and name")

    @model_validator(mode="after")
    def _belong_together(self) -> "UpstreamTls":
        if self.key is not None and self.cert is None:
            raise ValueError("key needs cert, the certificate that it belongs to")
        if self.pin is not None and self.ca is not None:
            raise ValueError("pin replaces ca: remove one of them")
        _without_key_of_defaults(self)
        return self


def _read_version(written: object) -> object:
    """Read 1.2, tls1.2 and TLSv1.2 as "1.2"."""
    text = str(written) if isinstance(written, str | float) else ""
    match = re.fullmatch(r"(?i)(?:tls ?v?)?(\d\.\d)", text.strip())
    return match[1] if match else written


class HostTls(Options):
    """TLS towards clients."""

    min_version: Annotated[
        Literal["1.2", "1.3"],
        BeforeValidator(_read_version, json_schema_input_type=Literal["1.2", "1.3", "tls1.2", "tls1.3"] | float),
    ] = option("1.2", "lowest TLS version: 1.2, 1.3")
    client_ca: File | None = option(None, "PEM of the CA that clients' certificates must be of")
    client_auth: Literal["require", "optional", "none"] = option(
        "require", "with client_ca: require; optional: a certificate that is shown must verify; none"
    )
    client_crl: File | None = option(None, "PEM of the CA's list of revoked certificates")
    client_allow: tuple[ClientMatch, ...] = option(
        (), "[{san: V}, {subject: V}, {fingerprint: V}]: whose certificates are served; empty: all that verify"
    )
    client_headers: ClientHeaders = option(
        doc="{X-Client: subject}: what the upstream is told; subject, issuer, serial, san, fingerprint, not_after",
        factory=dict,
    )
    cert: File | None = option(None, "PEM of a certificate of your own with its chain: nothing is ordered for the host")
    key: File | None = option(None, "its private key; null: it is in the same file")
    issuer: Literal["acme", "internal"] = option(
        "acme", "acme, or internal: a CA of our own (proxyd trust), as for names that no public CA certifies"
    )

    @model_validator(mode="after")
    def _belong_together(self) -> "HostTls":
        if self.key is not None and self.cert is None:
            raise ValueError("key needs cert, the file of the certificate that it belongs to")
        if self.cert is not None and self.issuer != "acme":
            raise ValueError(
                f"cert is a certificate of your own, and issuer: {self.issuer} makes one: remove one of them"
            )
        _without_key_of_defaults(self)
        return self


class RateLimitOptions(Options):
    """Requests per client address (IPv6: per /64)."""

    requests: Count = option(doc="how many", sample=100)
    per: Wait = option("1s", "in which time")
    burst: Count | None = option(None, "how many at once; null: as many as requests")


def _as_rate(written: object) -> object:
    """Read 100/s, 100/1m and 100/min as a mapping."""
    if not isinstance(written, str | int):
        return written
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\S+)\s*", str(written))
    if found is None:
        raise ValueError("must be how many in which time: 100/s, or {requests: 100, per: 1s, burst: 200}")
    per = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h", "day": "d"}.get(found[2], found[2])
    return {"requests": int(found[1]), "per": f"1{per}" if per.isalpha() else per}


RateLimit = Annotated[RateLimitOptions, BeforeValidator(_as_rate, json_schema_input_type=RateLimitOptions | str)]


def _check_realm(written: str) -> str:
    if not re.fullmatch(r"[ -~]*", written):
        raise ValueError("must be a line of ASCII characters: browsers show others in several ways")
    return written


class BasicAuth(Options):
    """User name and password (RFC 7617)."""

    realm: Annotated[str, AfterValidator(_check_realm)] = option("restricted", "shown to the user")
    users: File = option(doc="file of NAME:HASH lines, made with `proxyd password NAME`", sample="/etc/proxyd/users")


class AuthTls(UpstreamTls):
    """TLS towards a server of `forward_auth`, of which nothing but the CA can be chosen."""

    place: ClassVar[str] = "forward_auth"


class ForwardAuth(Options):
    """Ask another service whether a request may pass."""

    url: Auth = option(doc="where to ask", sample="http://127.0.0.1:9091/api/authz/forward-auth")
    copy_headers: tuple[RequestField, ...] = option((), "headers of its answer that the upstream gets")
    ca: File | None = option(None, "PEM of the CA of an https url; null: the machine's CAs")


class Timeouts(Options):
    """How long to wait for what."""

    header: Duration = option("30s", "a request's head, from its first byte; 0: for ever")
    idle: Duration = option("60s", "a body that does not move; never a moving one")
    keepalive: Duration = option("75s", "an idle client connection")
    connect: Duration = option("3s", "connecting to the upstream")
    response: Duration = option("60s", "the head of the upstream's answer")
    tunnel: Duration = option(0, "an idle WebSocket; 0: for ever")


class Maintenance(Options):
    """Answer 503 instead of the upstream."""

    retry_after: Duration = option("60s", "told to clients")
    page: File | None = option(None, "HTML to show")


def _read_mode(written: object) -> int:
    text = str(written) if isinstance(written, str | int) and not isinstance(written, bool) else ""
    if not re.fullmatch(r"(0o?)?[0-7]{3}", text):
        raise ValueError('must be the mode of a file in quotes, like "0640"')
    mode = int(text.removeprefix("0o"), 8)
    if mode & 0o007:
        raise ValueError('would let every user of this machine read the private key: use "0640" and a group')
    if mode & 0o111 or mode & 0o600 != 0o600:
        raise ValueError('must let the daemon read and write, and nobody execute: "0600", "0640" or "0660"')
    return mode


class Export(Options):
    """PEM copies for other programs."""

    dir: File = option(doc="directory", sample="/etc/mail/tls")
    group: str | None = option(None, "group of the files")
    mode: Annotated[
        int,
        BeforeValidator(_read_mode),
        PlainSerializer(lambda mode: f"{mode:04o}", return_type=str),
        WithJsonSchema({"type": ["string", "integer"], "examples": ["0640"]}),
    ] = option("0640", "mode of the files")

    @model_validator(mode="after")
    def _is_absolute(self) -> "Export":
        if not self.dir.is_absolute():
            raise ValueError(f"dir must be an absolute path, not {self.dir}")
        return self


class HookOptions(Options):
    """A program that runs after a new certificate is in place."""

    run: Program = option(doc="[CMD, ARG…]; no shell", sample=["/usr/local/bin/renewed"])
    timeout: Wait = option("60s", "after it the program is killed")


def _as_hook(written: object) -> object:
    return {"run": written} if isinstance(written, str | list | tuple) else written


Hook = Annotated[
    HookOptions,
    BeforeValidator(_as_hook),
    WithJsonSchema({"type": ["array", "object"], "items": {"type": "string"}, "examples": [["CMD", "ARG"]]}),
]


_Hsts = Annotated[Hsts | None, BeforeValidator(read_hsts, json_schema_input_type=bool | Literal["ramp"] | Hsts | None)]
_Health = Annotated[Health | None, may_be_off(Health)]
_Export = Annotated[Export | None, may_be_off(Export)]
_BasicAuth = Annotated[BasicAuth | None, may_be_off(BasicAuth)]
_ForwardAuth = Annotated[ForwardAuth | None, may_be_off(ForwardAuth)]


#: Requests about which one server is asked at a time.
_MOST_ASKED = 1000


class HostOptions(Options):
    """Everything that can be said about a host."""

    aliases: tuple[Name, ...] = option((), "more names, same options")
    certificate: Literal["per_name", "shared"] = option(
        "per_name", "per_name, or shared: this host and its aliases in one certificate"
    )
    upstream: Upstreams = option(
        (),
        "http(s)://HOST:PORT or unix:/PATH, or a list; 8080, :8080 and localhost:8080 mean http",
        sample="http://127.0.0.1:9001",
    )
    balance: Policy = option("least_conn", "among several upstreams: least_conn, round_robin, ip_hash, first")
    health: _Health = option(None, "{path: /up, interval: 10s, timeout: 5s, fails: 3, passes: 2}")
    max_upstream_connections: Count = option(10000, "requests under way to one upstream; beyond that 503")
    paths: Paths = option(
        doc="/PREFIX/: URL, {upstream: URL, strip: true} or {redirect: URL}; the longest prefix wins", factory=dict
    )
    redirect: Annotated[Redirect | None, may_be_off(Redirect)] = option(
        None, "URL: 308, path and query kept; or {to: URL, status: 302, keep_path: false}"
    )
    host_header: Literal["keep", "upstream"] = option("keep", "the upstream's Host: keep the client's, or upstream")
    upstream_tls: UpstreamTls = option(UpstreamTls(), "how an https upstream is verified")
    tls: HostTls = option(HostTls(), "TLS towards clients")
    acme: AcmeOptions | None = option(None, "overrides any key of the top-level acme")
    http2: bool = option(True, "offer HTTP/2")
    hsts: _Hsts = option(
        None, "browsers use https only: {max_age: 365d, include_subdomains: true}, or ramp: longer with each renewal"
    )
    secure_headers: bool = option(False, "nosniff, frame and referrer policies, where the upstream sets none")
    max_body: Size = option(0, "largest request body; 0: no limit")
    rate_limit: Annotated[RateLimit | None, may_be_off(RateLimit)] = option(
        None, "{requests: 100, per: 1s, burst: 200}, per client address (IPv6: /64); or 100/s"
    )
    basic_auth: _BasicAuth = option(None, "{realm: R, users: FILE}: user names and passwords (argon2id, bcrypt)")
    forward_auth: _ForwardAuth = option(
        None, "{url: U, copy_headers: []}: another server says whether a request may pass"
    )
    timeouts: Timeouts = option(Timeouts(), "how long to wait for what")
    headers: HeaderOptions = option(HeaderOptions(), "{request: {set: {}, remove: []}, response: {…}}")
    allow: Networks = option((), "CIDRs of the clients that are served; empty: all")
    deny: Networks = option((), "CIDRs of clients that are not, whatever allow says")
    maintenance: Annotated[Maintenance | None, switch(Maintenance)] = option(
        None, "true, or {retry_after: 60s, page: FILE}: 503 for all"
    )
    on_renew: Annotated[Hook | None, may_be_off(Hook)] = option(
        None, "[CMD, ARG…] after a new certificate is in place; or {run: [CMD, ARG…], timeout: 60s}"
    )
    export: _Export = option(None, '{dir: D, group: G, mode: "0640"}: PEM copies for other programs')

    def is_internal(self, name: Hostname | HostPattern, acme: AcmeOptions) -> bool:
        """Return whether our own CA certifies the name: as it is written, else when no public CA would; `acme`: its CA.

        A CA of the user's own takes names of any kind.
        """
        if self.tls.cert is not None:
            return False
        if "issuer" in self.tls.model_fields_set:
            return self.tls.issuer == INTERNAL
        return not acme.is_private and not name.is_public

    @property
    def auth_server(self) -> "HostOptions | None":
        """Return the server of `forward_auth` as if it were the upstream of a host."""
        asked = self.forward_auth
        if asked is None:
            return None
        own = {"upstream": (asked.url.address,), "upstream_tls": AuthTls(ca=asked.ca)}
        return HostOptions().model_copy(update={**own, "max_upstream_connections": _MOST_ASKED})
