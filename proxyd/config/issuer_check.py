"""Which names no issuer of a host can certify, and what is said of those that our own CA does."""

from collections.abc import Iterator, Sequence

from proxyd.config.acme import AcmeOptions
from proxyd.config.document import Location
from proxyd.config.host import HostOptions
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.internal_ca import is_local

NOT_YET = "not in this version yet"
#: A place under the host, and what is wrong there.
Finding = tuple[Location, str]


def name_findings(names: Sequence[Hostname], options: HostOptions, acme: AcmeOptions) -> Iterator[Finding]:
    """Yield what is wrong with the names of a host; `acme`: how its CA is asked, if it is."""
    own = {one for one in names if options.is_internal(one, acme)}
    for one in names:
        if options.tls.cert is not None or one in own or acme.is_private:
            continue
        if not one.is_public:
            yield (), _no_public_ca(one)
        elif one.is_ip_address and acme.profile is None:
            yield (), f"{one}: Let's Encrypt certifies IP addresses only with `acme: {{profile: shortlived}}`"
    if options.certificate == "shared" and own and len(own) < len(names):
        other = next(one for one in names if one not in own)
        message = (
            f"no public CA certifies {min(own)}, and the internal CA is not for {other}: they can share no "
            "certificate; write certificate: per_name, or tls: {issuer: internal} for both"
        )
        yield ("certificate",), message


def wildcard_findings(host: HostPattern, options: HostOptions, acme: AcmeOptions) -> Iterator[Finding]:
    """Yield what is wrong with a wildcard host."""
    if options.tls.cert is not None:
        message = f"{host}: a certificate of your own is for names that are listed in this version: list them"
        yield ("tls", "cert"), message
    is_internal = options.is_internal(host, acme)
    if host.is_any and (acme.on_demand is None or acme.on_demand.ask is None):
        message = (
            'every name of the world is under "*": it needs acme.on_demand.ask, the URL of your application that '
            "says which names are yours, like http://127.0.0.1:9000/check"
        )
        yield (), message
    elif acme.on_demand is None and not is_internal:
        message = (
            f"a wildcard certificate needs dns-01, which is {NOT_YET}; for a certificate of each name under "
            f"{host}, ordered when a client first asks for it, add `acme: {{on_demand: {{ask: URL}}}}`"
        )
        yield (), message
    if not host.is_public and not is_internal and not acme.is_private:
        yield (), _no_public_ca(f"names under {host}")
    if options.hsts is not None and options.hsts.max_age == "ramp":
        message = f"ramp goes by the renewals of one certificate, and names under {host} have many: write a max_age"
        yield ("hsts",), message
    if options.certificate == "shared":
        message = f"names under {host} are not known beforehand: each gets a certificate of its own; remove it"
        yield ("certificate",), message


def root_findings(names: Sequence[Hostname | HostPattern], options: HostOptions, acme: AcmeOptions) -> Iterator[str]:
    """Yield which names need a root that is not limited to local names."""
    for one in names:
        if options.is_internal(one, acme) and not is_local(Hostname(one.text)):
            yield (
                f"{one} needs a root of the internal CA that may certify any name: who steals its key can pretend to "
                "be any site to whoever trusts it; for a name under .internal, .home.arpa or .test a limited root does"
            )


def _no_public_ca(what: object) -> str:
    return (
        f"no public CA certifies {what}: remove `issuer: acme`, so that the internal CA does (`proxyd trust`), or set "
        "acme.server to the https URL of your own CA"
    )
