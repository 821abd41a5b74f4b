"""How often the certificate of each name was renewed, as far as that is known."""

from collections.abc import Callable, Mapping
from typing import Any

from proxyd.certs.certificate import Certificate
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage
from proxyd.core.moment import read_moment
from proxyd.core.strict_transport import COUNTS_AFTER

_PREFIX = "renewed "


class Renewals:
    """Counts what took the place of another certificate. `keep` writes a document, `recall` is given those of before.

    A renewal counts when the last that counted is a day old: by hand anybody can renew three times at once.
    """

    def __init__(self, *, keep: Callable[[str, Mapping[str, object]], None], clock: Clock) -> None:
        self._keep = keep
        self._clock = clock
        self._documents: dict[str, Mapping[str, Any]] = {}
        self._counts: dict[Hostname, int] = {}
        #: Hears of each name of which there is more to tell.
        self.changed: Callable[[Hostname], None] = lambda _: None

    def recall(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what was kept, among other documents."""
        self._documents = {name: one for name, one in documents.items() if name.startswith(_PREFIX)}
        self._counts.clear()
        for one in self._documents.values():
            self._count(one)

    def of(self, name: Hostname) -> int:
        """Return how often; 0: never, or it is not known."""
        return self._counts.get(name, 0)

    def counts(self) -> Mapping[Hostname, int]:
        """Return all that is known."""
        return self._counts

    def served(self, lineage: Lineage, certificate: Certificate, before: Held | None) -> None:
        """Hear that a certificate serves in the place of the one `before`."""
        if before is None or before.serial == certificate.serial:
            return
        name = f"{_PREFIX}{lineage.host} {lineage.key_kind}"
        known, now = self._documents.get(name, {}), self._clock.now()
        last = read_moment(known.get("at"))
        if last is not None and now - last < COUNTS_AFTER:
            return
        names = [one.text for one in lineage.names]
        self._documents[name] = {"renewals": _number(known) + 1, "at": now.isoformat(), "names": names}
        self._keep(name, self._documents[name])
        self._count(self._documents[name])
        for one in lineage.names:
            self.changed(one)

    def _count(self, document: Mapping[str, Any]) -> None:
        names = document.get("names")
        for name in names if isinstance(names, list) else ():
            if host := Hostname.from_wire(str(name)):
                self._counts[host] = max(self.of(host), _number(document))


def _number(document: Mapping[str, Any]) -> int:
    found = document.get("renewals")
    return found if isinstance(found, int) and found > 0 else 0
