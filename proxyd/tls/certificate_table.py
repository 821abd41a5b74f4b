"""Which certificate serves which name: memory only, asked in every handshake."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.core.key_family import key_family
from proxyd.tls.context import certificate_context
from proxyd.tls.memory_handshake import SAMPLE_LABEL, shown_leaf

#: 24 KB each (bench): more hosts than this are rarely asked for within one ticket's life.
_MAX_CONTEXTS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a connection is served with, for its whole life."""

    host: Hostname
    certificate: Certificate
    certificates: tuple[Certificate, ...]
    context: ssl.SSLContext
    http2: bool


class CertificateTable:
    """Exact names to certificates, one of each key family; contexts are built when asked for, the oldest forgotten."""

    def __init__(self, *, max_contexts: int = _MAX_CONTEXTS) -> None:
        self._certificates: dict[Hostname, tuple[Certificate, ...]] = {}
        self._selections: OrderedDict[Hostname, Selection] = OrderedDict()
        self._nameless: dict[Hostname, Selection] = {}
        self._max_contexts = max_contexts
        #: Hears of each host that is served with others from now on.
        self.changed: Callable[[Hostname], None] = lambda _: None
        #: Says whether a host offers HTTP/2. What it says may change at any time.
        self.http2: Callable[[Hostname], bool] = lambda _: False

    def put(self, host: Hostname, certificates: Sequence[Certificate]) -> None:
        """Serve exactly these from the next handshake on, the preferred first. Raises ssl.SSLError, OSError.

        ssl.SSLError: OpenSSL rejects one. What served before serves on then.
        """
        kept = tuple(certificates)
        if host in self._selections:  # prove them before the old ones go
            self._selections[host] = self._selection(host, kept)
        self._certificates[host] = kept
        self._nameless.pop(host, None)
        self.changed(host)

    async def change(self, host: Hostname, wanted: Callable[[tuple[Certificate, ...]], Sequence[Certificate]]) -> None:
        """Serve what is `wanted` in the place of what serves now; nothing wanted: leave it. Raises what `put` does.

        A thread builds the context: no client waits for it. What was changed meanwhile is not lost.
        """
        while True:
            before = self.certificates(host)
            kept = tuple(wanted(before))
            if not kept:
                return
            selection = await asyncio.to_thread(self._selection, host, kept)
            if self.certificates(host) is before and tuple(wanted(before)) == kept:
                break
        self._certificates[host] = kept
        self._nameless.pop(host, None)
        self._remember(selection)
        self.changed(host)

    def restore(self, host: Hostname, certificates: Sequence[Certificate]) -> None:
        """Serve what served before; never fails. None: refuse the host again."""
        self._forget(host)
        if certificates:
            self._certificates[host] = tuple(certificates)
        else:
            self._certificates.pop(host, None)
        self.changed(host)

    def keep_only(self, hosts: Iterable[Hostname]) -> None:
        """Forget all other hosts."""
        for gone in self._certificates.keys() - set(hosts):
            self.remove(gone)

    def remove(self, host: Hostname) -> None:
        """Forget a host; harmless when it is not known."""
        self._certificates.pop(host, None)
        self._forget(host)
        self.changed(host)

    def hosts(self) -> Iterable[Hostname]:
        """Return all that are served."""
        return self._certificates.keys()

    def first(self) -> Hostname | None:
        """Return a name that is served, if there is one: for who takes any."""
        return next(iter(self._certificates), None)

    def select(
        self, server_name: str | None, reached: Hostname | None = None, default: Hostname | None = None
    ) -> Selection | None:
        """Return what serves a client that sent `server_name`, or None: refuse it. Raises ssl.SSLError, OSError.

        Addresses are not sent as names (RFC 6066 §3): without a name it is the address that the client has `reached`,
        else `default`.
        """
        host = Hostname.from_wire(server_name) if server_name else reached
        family = self._certificates.get(host) if host is not None else None
        if host is None or family is None:
            return self._select_default(default) if default is not None and not server_name else None
        if (selection := self._selections.get(host)) and selection.http2 is self.http2(host):
            self._selections.move_to_end(host)
            return selection
        selection = self._selection(host, family)
        self._remember(selection)
        return selection

    def _select_default(self, host: Hostname) -> Selection | None:
        selection = self._nameless.get(host)
        is_out_of_date = selection is None or selection.http2 is not self.http2(host)
        if is_out_of_date and (family := self._certificates.get(host)):
            selection = self._nameless[host] = self._selection(host, family, nameless=True)
        return selection

    def _selection(self, host: Hostname, family: tuple[Certificate, ...], *, nameless: bool = False) -> Selection:
        http2 = self.http2(host)
        return Selection(
            host=host,
            certificate=family[0],
            certificates=family,
            context=certificate_context(host, family, nameless=nameless, http2=http2),
            http2=http2,
        )

    def _forget(self, host: Hostname) -> None:
        self._selections.pop(host, None)
        self._nameless.pop(host, None)

    def _remember(self, selection: Selection) -> None:
        self._selections[selection.host] = selection
        self._selections.move_to_end(selection.host)
        if len(self._selections) > self._max_contexts:
            self._selections.popitem(last=False)

    def certificate(self, host: Hostname) -> Certificate | None:
        """Return the certificate that serves `host` to most clients."""
        family = self._certificates.get(host)
        return family[0] if family else None

    def certificates(self, host: Hostname) -> tuple[Certificate, ...]:
        """Return all that serve `host`, one of each key family."""
        return self._certificates.get(host, ())

    def all(self) -> set[Certificate]:
        """Return everything that serves."""
        return {one for certificates in self._certificates.values() for one in certificates}

    def of_kind(self, host: Hostname, key_kind: str) -> Certificate | None:
        """Return the certificate that serves `host` with a key of the family of `key_kind`."""
        return next((one for one in self.certificates(host) if one.family == key_family(key_kind)), None)

    async def confirm(self, host: Hostname, certificate: Certificate) -> bool:
        """Return whether a handshake in memory, through the own selection, shows this certificate."""
        selection = self.select(None if host.is_ip_address else host.text.replace("*", SAMPLE_LABEL, 1), host)
        if selection is None or certificate not in selection.certificates:
            return False
        kind = certificate.key_kind
        return certificate.leaf == await asyncio.to_thread(shown_leaf, selection.context, host, key_kind=kind)
