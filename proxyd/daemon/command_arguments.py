"""What a command was given, parsed once."""

from collections.abc import Mapping, Sequence

from proxyd.admin.control_socket import Refused, Request
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.issuance.renewer import Renewer


def hosts_of(request: Request) -> list[Hostname]:
    """Return the names; raises Refused for what is none."""
    written = request.arguments.get("hosts")
    hosts = []
    for one in written if isinstance(written, list) else ():
        host = Hostname.from_wire(one) if isinstance(one, str) else None
        if host is None:
            raise Refused("hosts must be a list of host names")
        hosts.append(host)
    return hosts


def flag(request: Request, name: str) -> bool:
    """Return whether a switch is on."""
    return request.arguments.get(name) is True


def lineages_of(renewer: Renewer, hosts: Sequence[Hostname]) -> list[Lineage]:
    """Return what serves the names, each once; raises Refused when one is unknown or none is named."""
    found = {host: renewer.lineages(host) for host in hosts}
    refuse_unknown(hosts, {host: one for host, one in found.items() if one})
    if not hosts:
        raise Refused("no host is named")
    return list(dict.fromkeys(lineage for one in found.values() for lineage in one))


def refuse_unknown(hosts: Sequence[Hostname], known: Mapping[Hostname, object]) -> None:
    """Raise Refused when a name is not among the known ones."""
    if unknown := [host.text for host in hosts if host not in known]:
        raise Refused(f"not in the running configuration: {', '.join(unknown)}")
