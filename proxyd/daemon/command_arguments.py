"""What a command was given, parsed once."""

from collections.abc import Callable, Mapping, Sequence

from proxyd.admin.control_socket import Refused, Request
from proxyd.core.host_pattern import host_or_pattern
from proxyd.core.hostname import Hostname, InvalidHostname
from proxyd.core.lineage import Lineage
from proxyd.issuance.renewer import Renewer


def hosts_of(request: Request) -> list[Hostname]:
    """Return the names; raises Refused for what is none."""
    return _names_of(request, Hostname.from_wire)


def hosts_or_patterns_of(request: Request) -> list[Hostname]:
    """Return the names, those of wildcard hosts among them; raises Refused for what is neither."""
    return _names_of(request, _host_or_pattern)


def _names_of(request: Request, read: Callable[[str], Hostname | None]) -> list[Hostname]:
    written = request.arguments.get("hosts")
    hosts = []
    for one in written if isinstance(written, list) else ():
        host = read(one) if isinstance(one, str) else None
        if host is None:
            raise Refused("hosts must be a list of host names")
        hosts.append(host)
    return hosts


def _host_or_pattern(written: str) -> Hostname | None:
    try:
        return host_or_pattern(written)
    except InvalidHostname:
        return None


def flag(request: Request, name: str) -> bool:
    """Return whether a switch is on."""
    return request.arguments.get(name) is True


def lineages_of(renewer: Renewer, hosts: Sequence[Hostname], *, own: Callable[[Hostname], str | None]) -> list[Lineage]:
    """Return what serves the names, each once; raises Refused when one is unknown or none is named.

    `own` says where a certificate of the operator's own is: nothing is ordered for that host.
    """
    if files := next((f"{host} has a certificate of your own, {where}" for host in hosts if (where := own(host))), ""):
        raise Refused(f"{files}: proxyd orders none for it; put a new one there, it is read within seconds", status=1)
    found = {host: renewer.fleet.lineages_of(host) for host in hosts}
    refuse_unknown(hosts, {host: one for host, one in found.items() if one})
    if not hosts:
        raise Refused("no host is named")
    return list(dict.fromkeys(lineage for one in found.values() for lineage in one))


def refuse_unknown(hosts: Sequence[Hostname], known: Mapping[Hostname, object]) -> None:
    """Raise Refused when a name is not among the known ones."""
    if unknown := [host.text for host in hosts if host not in known]:
        raise Refused(f"not in the running configuration: {', '.join(unknown)}")
