"""Which certificates a configuration asks for, or allows, and of which CAs."""

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

from proxyd.config.acme import AcmeOptions
from proxyd.config.model import Config
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage, Plan
from proxyd.issuance.on_demand import Rule


def authorities_of(config: Config, host: Hostname | HostPattern) -> tuple[AcmeOptions, ...]:
    """Return the CAs of a host, or of the names under a wildcard host, in the order in which they are asked."""
    mine = config.acme_of(host)
    return (mine, *mine.fallback)


def plans_of(config: Config) -> list[Plan]:
    """Return every certificate that the configuration asks for."""
    return [plan for host, names in config.certificate_hosts.items() for plan in _plans(config, host, names)]


def plans_on_demand(config: Config, names: Iterable[Hostname]) -> list[Plan]:
    """Return the certificates of those of `names` that are under a wildcard host."""
    under = (name for name in sorted(names) if config.table.pattern(name))
    return [replace(plan, on_demand=True) for name in under for plan in _plans(config, name, (name,))]


def rules_of(config: Config) -> HostTable[Rule | None]:
    """Return what each wildcard host allows; listed names are under none."""
    rules: dict[HostPattern, Rule | None] = {}
    for pattern in config.wildcards:
        acme = config.acme_of(pattern)
        if acme.on_demand is not None:
            rules[pattern] = Rule(
                pattern=pattern,
                ask=acme.on_demand.ask,
                max_new_per_day=acme.on_demand.max_new_per_day,
                public=not acme.is_private,
            )
    return HostTable(dict.fromkeys(config.names) if rules else {}, rules)


def _plans(config: Config, host: Hostname, names: tuple[Hostname, ...]) -> list[Plan]:
    chosen = authorities_of(config, host)
    return [_plan(host, names, kind, chosen) for kind in key_kinds(chosen[0])]


def key_kinds(options: AcmeOptions) -> tuple[str, ...]:
    """Return the one or two kinds of keys that are served."""
    return (options.key_type,) if isinstance(options.key_type, str) else options.key_type


def _plan(host: Hostname, names: tuple[Hostname, ...], kind: str, chosen: Sequence[AcmeOptions]) -> Plan:
    first = chosen[0]
    told = [(one.server, one.profile, binding_of(one), one.email) for one in chosen]
    return Plan(
        lineage=Lineage(host=host, names=names, key_kind=kind),
        issuers=tuple(one.server for one in chosen),
        challenges=tuple(first.challenges),
        fingerprint=sys.intern(repr(told)),
    )


def binding_of(options: AcmeOptions) -> str | None:
    """Return what changes when the external account does; the secret itself must not reach the journal."""
    if options.eab is None:
        return None
    text = f"{options.eab.kid} {options.eab.hmac_key.get_secret_value()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
