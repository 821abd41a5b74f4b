"""What is written about upstreams and cannot work, or is hardly meant."""

import re
from collections.abc import Iterator

from proxyd.config.document import Location
from proxyd.config.host import HostOptions, UpstreamTls
from proxyd.config.upstream_trust import UpstreamTlsError, upstream_context

#: What other programs have, by parts of the names.
_TURNS_OFF = re.compile("verify|insecure|skip", re.IGNORECASE)
_ALWAYS_VERIFIED = (
    "unknown key: upstreams are always verified. Give the root certificate of a private CA in `ca`; for a self-signed "
    "one write `pin`: the log of a request that failed has the line to paste"
)


class UpstreamCheck:
    """Looks at one host after the other; each file is read once."""

    def __init__(self, defaults: HostOptions) -> None:
        self._defaults = defaults
        self._seen: dict[UpstreamTls, UpstreamTlsError | None] = {}
        self._said: set[Location] = set()

    def files(self, place: Location, options: HostOptions) -> Iterator[tuple[Location, str]]:
        """Yield which files of a host's `upstream_tls` cannot be used, once where hosts have them in common."""
        tls = options.upstream_tls
        if (tls.ca is None and tls.cert is None) or not speaks_tls(options):
            return
        if tls not in self._seen:
            self._seen[tls] = _broken(tls)
        if (broken := self._seen[tls]) is None:
            return
        default = getattr(self._defaults.upstream_tls, broken.key)
        where = ("defaults",) if getattr(tls, broken.key) == default else place
        location = (*where, "upstream_tls", broken.key)
        if location not in self._said:
            self._said.add(location)
            yield location, str(broken)

    def unused(self, place: Location, options: HostOptions) -> Iterator[tuple[Location, str]]:
        """Yield that a host's `upstream_tls` concerns none of its upstreams, and that these are never asked."""
        if options.redirect is not None and options.upstream and options.upstream != self._defaults.upstream:
            message = f"is never asked: every request is redirected to {options.redirect.to}; remove one of the two"
            if options.paths:
                message = message.replace("every request", "every request outside of paths")
            yield (*place, "upstream"), message
        if options.upstream_tls != self._defaults.upstream_tls and not speaks_tls(options):
            addresses = ", ".join(str(one) for one in options.upstream)
            message = f"has no effect: no TLS is spoken to {addresses}; write https:// there if it is meant"
            yield (*place, "upstream_tls"), message


def no_off_switch(location: Location) -> str | None:
    """Return what to say of an unknown key that is to turn the verification off, or None: it is another one."""
    is_meant = location[-2:-1] == ("upstream_tls",) and _TURNS_OFF.search(str(location[-1]))
    return _ALWAYS_VERIFIED if is_meant else None


def speaks_tls(options: HostOptions) -> bool:
    """Return whether one of the upstreams is `https://`."""
    upstreams = [options.upstream, *(route.upstream for route in options.paths.values())]
    return any(one.scheme == "https" for addresses in upstreams for one in addresses)


def _broken(tls: UpstreamTls) -> UpstreamTlsError | None:
    try:
        upstream_context(tls)
    except UpstreamTlsError as error:
        return error
    return None
