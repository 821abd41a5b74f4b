"""What is wrong with the files of `tls.cert` and `tls.key`, where they are written."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from proxyd.config.document import Location
from proxyd.config.host import HostOptions
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname

#: Given the files and the names that they are for; yields the option, what is wrong, and whether a name is not served.
Judge = Callable[[Path, Path | None, Iterable[Hostname]], Iterable[tuple[str, str, bool]]]


def own_pair_findings(
    hosts: Mapping[str, HostOptions], names: Mapping[str, Hostname | HostPattern], defaults: HostOptions, judge: Judge
) -> Iterator[tuple[Location, str, bool]]:
    """Yield what `judge` finds, with its place in the file; what hosts have in common once."""
    said: set[tuple[Location, str]] = set()
    for key, options in hosts.items():
        cert, name = options.tls.cert, names[key]
        if cert is None or isinstance(name, HostPattern):
            continue
        for option in ("export", "on_renew"):
            if getattr(options, option) is not None:
                message = "has no effect: it is for certificates that proxyd obtains, and this host has one of your own"
                yield ("hosts", key, option), message, False
        for option, message, is_fatal in judge(cert, options.tls.key, (name, *options.aliases)):
            written = option if getattr(options.tls, option) is not None else "cert"
            is_common = getattr(options.tls, written) == getattr(defaults.tls, written)
            place: Location = (*(("defaults",) if is_common else ("hosts", key)), "tls", written)
            if (place, message) not in said:
                said.add((place, message))
                yield place, message, is_fatal
