"""Which certificate serves which name: memory only, asked in every handshake."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

from proxyd.certs.certificate import Certificate
from proxyd.core.host_pattern import HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.key_family import key_family
from proxyd.core.tls_policy import TlsPolicy
from proxyd.tls.context import ALL_SENT, Sent, certificate_context
from proxyd.tls.memory_handshake import SAMPLE_LABEL, shown_leaf

#: 24 KB each (bench): more hosts than this are rarely asked for within one ticket's life.
_MAX_CONTEXTS = 2048
#: Seconds that a context serves: it has the keys of its tickets, which nobody can exchange in it.
_LONGEST = 86_400.0
_USUAL = TlsPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a connection is served with, for its whole life."""

    host: Hostname
    certificate: Certificate
    certificates: tuple[Certificate, ...]
    context: ssl.SSLContext
    policy: TlsPolicy
    made_at: float


class CertificateTable:
    """Exact names to certificates, one of each key family; contexts are built when asked for, the oldest forgotten.

    No two hosts share a context, and one is never changed: then a session of another host, of another policy or of a
    day ago cannot be resumed. `now`: seconds that only grow.
    """

    def __init__(self, *, max_contexts: int = _MAX_CONTEXTS, now: Callable[[], float] = monotonic) -> None:
        self._certificates: dict[Hostname, tuple[Certificate, ...]] = {}
        self._policies: HostTable[TlsPolicy] = HostTable()
        self._selections: OrderedDict[tuple[Hostname, Sent], Selection] = OrderedDict()
        self._max_contexts = max_contexts
        self._now = now
        #: Hears of each host that is served with others from now on.
        self.changed: Callable[[Hostname], None] = lambda _: None

    def put(self, host: Hostname, certificates: Sequence[Certificate]) -> None:
        """Serve exactly these from the next handshake on, the preferred first. Raises ssl.SSLError, OSError.

        ssl.SSLError: OpenSSL rejects one. What served before serves on then.
        """
        kept = tuple(certificates)
        proved = self._made(host, kept) if (host, "host") in self._selections else None  # before the old ones go
        self._certificates[host] = kept
        self._forget(host)
        if proved is not None:
            self._remember(proved, "host")
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
            selection = await asyncio.to_thread(self._made, host, kept)
            is_same = self.certificates(host) is before and selection.policy == self.policy(host)
            if is_same and tuple(wanted(before)) == kept:
                break
        self._certificates[host] = kept
        self._forget(host)
        self._remember(selection, "host")
        self.changed(host)

    def keep_to(self, policies: HostTable[TlsPolicy]) -> None:
        """Have handshakes keep to these policies from the next one on."""
        self._policies = policies
        for key, one in [*self._selections.items()]:
            if one.policy != self.policy(one.host):
                del self._selections[key]

    def policy(self, host: Hostname) -> TlsPolicy:
        """Return what a handshake for `host` must keep to."""
        return self._policies.get(host) or _USUAL

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

    def select(
        self, server_name: str | None, reached: Hostname | None = None, default: Hostname | None = None
    ) -> Selection | None:
        """Return what serves a client that sent `server_name`, or None: refuse it. Raises ssl.SSLError, OSError.

        Addresses are not sent as names (RFC 6066 §3): without a name it is the address that the client has `reached`,
        else `default`.
        """
        host = Hostname.from_wire(server_name) if server_name else reached
        if host is not None and host in self._certificates:
            return self._selected(host, "host")
        if default is None or server_name or default not in self._certificates:
            return None
        return self._selected(default, "none")

    def select_for_any_name(self, default: Hostname) -> Selection | None:
        """Return what serves a client that may send any name, as `default`. Raises ssl.SSLError, OSError."""
        return self._selected(default, "any") if default in self._certificates else None

    def _selected(self, host: Hostname, sent: Sent) -> Selection:
        selection = self._selections.get((host, sent))
        if selection is None or self._now() - selection.made_at > _LONGEST:
            selection = self._made(host, self._certificates[host], sent)
        self._remember(selection, sent)
        return selection

    def _made(self, host: Hostname, certificates: tuple[Certificate, ...], sent: Sent = "host") -> Selection:
        policy = self.policy(host)
        return Selection(
            host=host,
            certificate=certificates[0],
            certificates=certificates,
            context=certificate_context(host, certificates, policy=policy, sent=sent),
            policy=policy,
            made_at=self._now(),
        )

    def _forget(self, host: Hostname) -> None:
        for sent in ALL_SENT:
            self._selections.pop((host, sent), None)

    def _remember(self, selection: Selection, sent: Sent) -> None:
        key = selection.host, sent
        self._selections[key] = selection
        self._selections.move_to_end(key)
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
        shown = await asyncio.to_thread(shown_leaf, selection.context, host, key_kind=certificate.key_kind)
        if shown == certificate.leaf:
            return True
        # A client of TLS 1.3 cannot say which of two keys it wants.
        others = {one.leaf for one in selection.certificates}
        return selection.policy.min_version == "1.3" and certificate.family == "rsa" and shown in others
