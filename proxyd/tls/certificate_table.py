"""Which certificate serves which name: memory only, asked in every handshake."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.tls.context import certificate_context


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a connection is served with, for its whole life."""

    host: Hostname
    certificate: Certificate
    context: ssl.SSLContext


class CertificateTable:
    """Exact names to certificates; contexts are built when first asked for."""

    def __init__(self) -> None:
        self._certificates: dict[Hostname, Certificate] = {}
        self._selections: dict[Hostname, Selection] = {}

    def install(self, host: Hostname, certificate: Certificate) -> None:
        """Serve `certificate` from the next handshake on. Raises ssl.SSLError when OpenSSL rejects it."""
        if host in self._selections:  # prove it before the old one goes
            self._selections[host] = _select(host, certificate)
        self._certificates[host] = certificate

    def keep_only(self, hosts: Iterable[Hostname]) -> None:
        """Forget all other hosts."""
        for gone in self._certificates.keys() - set(hosts):
            del self._certificates[gone]
            self._selections.pop(gone, None)

    def select(self, server_name: str | None) -> Selection | None:
        """Return what serves a client that sent `server_name`, or None: refuse it."""
        host = Hostname.from_wire(server_name) if server_name else None
        if host is None:
            return None
        if selection := self._selections.get(host):
            return selection
        if (certificate := self._certificates.get(host)) is None:
            return None
        self._selections[host] = _select(host, certificate)
        return self._selections[host]

    def certificate(self, host: Hostname) -> Certificate | None:
        """Return the certificate that serves `host`."""
        return self._certificates.get(host)


def _select(host: Hostname, certificate: Certificate) -> Selection:
    return Selection(host=host, certificate=certificate, context=certificate_context(host, certificate))
