"""From the options of hosts to what TLS handshakes with their clients must keep to."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from proxyd.config.client_trust import ClientTrustError, Key, read_trust
from proxyd.config.host import HostOptions, HostTls
from proxyd.config.model import Config
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.tls_policy import TlsPolicy

_log = logging.getLogger("proxyd.tls")
#: Of hosts that a broken file concerns, so many are named.
_MOST_NAMED = 3


class Policies:
    """Makes the policies of one configuration after the other. What a host's file has said holds on when it breaks."""

    def __init__(self) -> None:
        self._last: Mapping[Hostname | HostPattern, TlsPolicy] = {}

    def of(self, config: Config) -> Mapping[Hostname | HostPattern, TlsPolicy]:
        """Return the policy of each name and wildcard host. Blocks: not for the event loop.

        It is a broken one where a file cannot be read, and never could.
        """
        reading = _Reading(self._last.values(), offers_http2=config.listen.http2)
        found = {host: reading.policy(host, options, self._last.get(host)) for host, options in config.served.items()}
        reading.tell()
        self._last = found
        return found


class _Reading:
    """One look at all files, each read once."""

    def __init__(self, last: Iterable[TlsPolicy], *, offers_http2: bool) -> None:
        self._offers_http2 = offers_http2
        self._files: dict[tuple[Key, Path], bytes | ClientTrustError] = {}
        self._made = {one: one for one in last}
        self._lacking: dict[tuple[Key, Path, bool], list[str]] = {}

    def policy(self, host: Hostname | HostPattern, options: HostOptions, last: TlsPolicy | None) -> TlsPolicy:
        """Return what holds for a host for which `last` held."""
        asked = self._asked(host, options.tls, last)
        made = replace(asked, min_version=options.tls.min_version, http2=self._offers_http2 and options.http2)
        return self._made.setdefault(made, made)  # requests compare them: the same are one object

    def tell(self) -> None:
        """Tell which files could not be used, once for all hosts that they concern."""
        for (key, file, is_kept), hosts in self._lacking.items():
            more = f" and {len(hosts) - _MOST_NAMED} more" if len(hosts) > _MOST_NAMED else ""
            then = "what it said before holds on" if is_kept else "every request for it is answered 503"
            fields = {
                "file": file,
                "reason": self._files[key, file],
                "then": then,
                "next": "mend the file, then reload",
            }
            host = ", ".join(hosts[:_MOST_NAMED]) + more
            _log.error("clients cannot be verified with a file", extra={"host": host, "key": f"tls.{key}", **fields})

    def _asked(self, host: Hostname | HostPattern, options: HostTls, last: TlsPolicy | None) -> TlsPolicy:
        """Return what clients are asked for."""
        if options.client_ca is None or options.client_auth == "none":
            return TlsPolicy()
        ca = self._content(host, "client_ca", options.client_ca, last)
        crl = self._content(host, "client_crl", options.client_crl, last) if options.client_crl is not None else b""
        if ca is None or crl is None:
            return TlsPolicy(client_auth=options.client_auth)
        return TlsPolicy(client_auth=options.client_auth, client_ca=ca, client_crl=crl)

    def _content(self, host: Hostname | HostPattern, key: Key, file: Path, last: TlsPolicy | None) -> bytes | None:
        """Return what a file says, else what it said for this host, else None."""
        if (key, file) not in self._files:
            try:
                self._files[key, file] = read_trust(key, file)
            except ClientTrustError as error:
                self._files[key, file] = error
        read = self._files[key, file]
        if isinstance(read, bytes):
            return read
        kept: bytes | None = (getattr(last, key) if last is not None else None) or None
        self._lacking.setdefault((key, file, kept is not None), []).append(str(host))
        return kept
