"""What the renewer must not forget at a restart, kept in the journal."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from proxyd.certs.certificate import Certificate
from proxyd.core.authority import Authority
from proxyd.core.clock import Clock
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.core.lineage import Held, Lineage
from proxyd.core.moment import read_moment
from proxyd.issuance.renewals import Renewals
from proxyd.store.journal import Journal
from proxyd.store.pending_orders import PendingOrder

if TYPE_CHECKING:
    from proxyd.core.journal_event import JsonValue


#: Kept when every CA's budget was: a journal that was lost since lacks it, whatever else was written again.
_HISTORY = "history"
#: Of what is known of a CA: what grows with every order.
_PARTS = ("ledger", "issued")
#: What is over is forgotten so often: names on demand come and go, and what was spent for each stays until it is over.
_SWEEP_EVERY = timedelta(days=1)
#: Of so many names on demand that failed and were given up the schedule is kept: asking again wins no retry.
_GIVEN_UP = 1000


class Memory:
    """Typed face over the journal's states and events. Nothing here blocks, unless it says so."""

    def __init__(self, journal: Journal, *, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._states: dict[str, Mapping[str, JsonValue]] = {}
        self._knows_history = self._is_intact = False
        self._swept: dict[str, datetime] = {}
        self._given_up: OrderedDict[str, set[str]] = OrderedDict()  # host to its documents, the oldest first
        self._assumed: set[str] = set()  # CAs whose history was lost
        #: How the orders of this process ended at each CA: "issued", or the kind of failure.
        self.orders: Counter[tuple[str, str]] = Counter()
        #: Whether the time is known: by a wrong clock everything that was spent may seem to be over.
        self.is_time_sure: Callable[[], bool] = lambda: True
        self.renewals = Renewals(keep=self.keep_document, clock=clock)

    @property
    def trouble(self) -> str | None:
        """Return why nothing of this is kept on disk now."""
        return self._journal.trouble

    @property
    def knows_history(self) -> bool:
        """Return whether all was kept that happened before this start; the loss of it is told once."""
        return self._knows_history

    def open(self, *, is_first: bool = False) -> None:
        """Read everything; `is_first`: the cache holds nothing that a CA gave. Blocks on the disk."""
        states = self._journal.open()
        is_intact = self._journal.history_known
        self.recollect(states, is_first=is_first and self._journal.is_blank, is_intact=is_intact)

    def read_again(self) -> None:
        """Read what another process has kept since. Blocks on the disk."""
        self._journal.flush()
        states = self._journal.states()
        self.recollect(states, is_intact=self._journal.history_known)

    def flush(self) -> None:
        """Wait until the disk has what was kept so far, at most 10 s."""
        self._journal.flush()

    def recollect(
        self, states: "Mapping[str, Mapping[str, JsonValue]]", *, is_first: bool = False, is_intact: bool = True
    ) -> None:
        """Take over what was kept, without the journal: for those who only look.

        Nothing before it is known, unless it is `is_first`, before which nothing was, or `is_intact`, all of what was.
        """
        self._states = dict(states)
        self.renewals.recall(states)
        self._given_up.clear()
        for name in sorted(states, key=lambda one: str(states[one].get("given_up"))):
            if name.startswith("lineage ") and "given_up" in states[name]:
                self._given_up.setdefault(name.split(" ")[1], set()).add(name)
        self._is_intact = is_first or is_intact
        self._knows_history = is_first or (is_intact and _HISTORY in states)

    def note(self, kind: str, host: Hostname | None, issuer: str | None, /, **fields: object) -> None:
        """Record what happened."""
        if issuer is not None and (result := _result(kind, fields)):
            self.orders[issuer, result] += 1
        shown = {key: _json(value) for key, value in fields.items() if value is not None}
        self._journal.record(JournalEvent(at=self._clock.now(), host=host, kind=kind, issuer=issuer, fields=shown))

    def recall_authority(self, authority: Authority, now: datetime) -> None:
        """Give a CA its history back; a history that was lost is budgeted for as if half of it was spent."""
        is_kept = f"ca {authority.name}" in self._states
        if is_kept:
            self._take_apart(authority.name)
        kept = self._authority(authority.name)
        authority.read_document(kept, now)
        self._journal.forget_lost()
        is_whole = self._is_intact and all(map(read_moment, kept["ledger"].values()))
        if authority.ledger and not (is_kept and is_whole):
            if not (is_whole and self._knows_history) and authority.name not in self._assumed:
                self._assumed.add(authority.name)
                authority.ledger.assume_unknown_history(now)
            self.keep_authority(authority, now)  # or the next start takes what is kept of hosts for all there was
        if _HISTORY not in self._states:
            self.keep_document(_HISTORY, {"since": now})

    def clock_righted(self, fleet: Fleet, now: datetime, *, orders: bool = True) -> None:
        """Give the CAs their history back: by the wrong clock it may have seemed to be over.

        Unless this process `orders` the one that does keeps it, and who takes over reads it again.
        """
        if not orders:
            fleet.clock_righted(now)
            return
        authorities = fleet.authorities().values()
        for authority in authorities:
            self._keep(authority, now, sure=False)
            self.recall_authority(authority, now)
            if authority.ledger and authority.name in self._assumed:
                authority.ledger.assume_unknown_history(now)
        fleet.clock_righted(now)
        for authority in authorities:
            self.keep_authority(authority, now)

    def keep_authority(self, authority: Authority, now: datetime) -> None:
        """Keep what was spent, each bucket and each name set by itself.

        Before the time is sure nothing is forgotten, and what was kept only becomes more.
        """
        sure = self.is_time_sure()
        swept = self._swept.get(authority.name)
        if sure and (swept is None or now - swept >= _SWEEP_EVERY):
            self._swept[authority.name] = now
            self._sweep(authority, now)
        self._keep(authority, now, sure=sure)

    def _keep(self, authority: Authority, now: datetime, *, sure: bool) -> None:
        changes, name = authority.changes(now, stay=not sure), f"ca {authority.name}"
        self.keep_document(name, changes.pop("standing"))
        for part, values in changes.items():
            for key, value in values.items():
                document = f"{name} {part} {key}"
                if not sure:
                    value = _more(self.document(document).get("at"), value)
                if value is None:
                    self.forget_document(document)
                else:
                    self.keep_document(document, {"at": value})

    def _sweep(self, authority: Authority, now: datetime) -> None:
        """Forget what is over."""
        kept, live = self._authority(authority.name), _mapping(authority.to_document(now))
        for part in _PARTS:
            values = live.get(part)
            for key in set(kept[part]).difference(values if isinstance(values, Mapping) else ()):
                self.forget_document(f"ca {authority.name} {part} {key}")

    def _authority(self, name: str) -> Mapping[str, Any]:
        """Return what was kept of a CA as one document."""
        parts: dict[str, dict[str, object]] = {part: {} for part in _PARTS}
        prefix = f"ca {name} "
        for key, document in [*self._states.items()]:  # a copy: `keep_given` may add one meanwhile
            if key.startswith(prefix):
                part, _, rest = key.removeprefix(prefix).partition(" ")
                parts.get(part, {})[rest] = document.get("at")
        return {**self._states.get(f"ca {name}", {}), **parts}

    def _take_apart(self, name: str) -> None:
        """Keep by itself each part of what an earlier version kept in one document."""
        whole = dict(self._states[f"ca {name}"])
        if not any(part in whole for part in _PARTS):
            return
        for part in _PARTS:
            values = whole.pop(part, {})
            for key, value in values.items() if isinstance(values, Mapping) else ():
                self.keep_document(f"ca {name} {part} {key}", {"at": value})
        self.keep_document(f"ca {name}", whole)

    def recall(self, fleet: Fleet, lineage: Lineage, now: datetime) -> None:
        """Give a lineage its schedule back: restarts win no retry."""
        if document := self._states.get(f"lineage {_name(lineage)}"):
            fleet.restore(lineage, document, now)

    def keep_lineage(self, fleet: Fleet, lineage: Lineage) -> None:
        """Keep the schedule: also for a host that leaves the configuration and comes back."""
        if document := fleet.document(lineage):
            self._is_wanted(lineage.host, name := f"lineage {_name(lineage)}")
            self.keep_document(name, document)

    def keep_held(self, lineage: Lineage, held: Held) -> None:
        """Keep which CA gave the certificate: the file does not say it."""
        document: dict[str, JsonValue] = {
            "serial": f"{held.serial:x}",
            "issuer": held.issuer,
            "owned": held.is_owned,
            "account": held.account,
        }
        self._journal.put_state(f"held {_name(lineage)}", document)
        self._states[f"held {_name(lineage)}"] = document

    def keep_given(self, pending: PendingOrder, certificate: Certificate) -> None:
        """Keep which CA gave it, as its order says: a kill may have come before that was kept.

        In any thread. Blocks on the disk.
        """
        if self.held(pending.lineage, certificate).issuer is None:
            held = held_of(certificate, issuer=pending.issuer, is_owned=True, account=pending.account)
            self.keep_held(pending.lineage, held)
        self.flush()

    def held(self, lineage: Lineage, certificate: Certificate) -> Held:
        """Return what is known of a certificate that was found in the store."""
        document = self._states.get(f"held {_name(lineage)}", {})
        known = document.get("serial") == f"{certificate.serial:x}"
        issuer = document.get("issuer") if known else None
        known_issuer = issuer if isinstance(issuer, str) else None
        account = document.get("account") if known else None
        return held_of(
            certificate,
            issuer=known_issuer,
            is_owned=known and document.get("owned") is True,
            account=account if isinstance(account, str) else None,
        )

    def give_up(self, lineage: Lineage) -> None:
        """Keep nothing of a lineage but its history and, for a while, the schedule by which it failed."""
        host, schedule = lineage.host.text, f"lineage {_name(lineage)}"
        kept = {name for name in [*self._states] if name.split(" ")[1:] in ([host], _name(lineage).split(" "))}
        for name in {*kept, f"held {_name(lineage)}"} - {schedule}:
            self.forget_document(name)
        document = self.document(schedule)
        if not document.get("failures"):
            self.forget_document(schedule)
            return
        self.keep_document(schedule, {**document, "given_up": self._clock.now()})
        self._given_up.setdefault(host, set()).add(schedule)
        self._given_up.move_to_end(host)
        while len(self._given_up) > _GIVEN_UP:
            for name in self._given_up.popitem(last=False)[1]:
                self.forget_document(name)

    def _is_wanted(self, host: Hostname, schedule: str) -> None:
        if documents := self._given_up.get(host.text):
            documents.discard(schedule)
            if not documents:
                del self._given_up[host.text]

    def has_given_up(self, host: Hostname) -> bool:
        """Return whether the host was wanted before, failed, and its schedule is kept."""
        return host.text in self._given_up

    def names(self) -> set[Hostname]:
        """Return the hosts whose schedule was kept by the last run; not those that were given up."""
        kept = (
            name.split(" ")
            for name, document in [*self._states.items()]
            if name.startswith("lineage ") and "given_up" not in document
        )
        return {host for words in kept if len(words) == 3 and (host := Hostname.from_wire(words[1]))}

    def document(self, name: str) -> Mapping[str, "JsonValue"]:
        """Return what was kept under a name; empty when nothing was."""
        return self._states.get(name, {})

    def documents(self, prefix: str) -> dict[str, "Mapping[str, JsonValue]"]:
        """Return what was kept under names that begin so, by the rest of the name."""
        kept = [*self._states.items()]
        return {name.removeprefix(prefix): document for name, document in kept if name.startswith(prefix)}

    def keep_document(self, name: str, document: Mapping[str, object]) -> None:
        """Keep it in the place of the one before."""
        self._states[name] = kept = _mapping(document)
        self._journal.put_state(name, kept)

    def forget_document(self, name: str) -> None:
        """Keep it no longer."""
        self._states.pop(name, None)
        self._journal.drop_state(name)

    def history(self, host: Hostname) -> list[JournalEvent]:
        """Return what happened to a host, oldest first. Blocks on the disk."""
        self._journal.flush()
        return self._journal.history(host)

    def latest(self, limit: int) -> list[JournalEvent]:
        """Return the last events of all hosts, newest first. Blocks on the disk, and waits for no writing."""
        return self._journal.latest(limit)

    def close(self) -> None:
        """Write what is queued. Blocks."""
        self._journal.close()


def held_of(certificate: Certificate, *, issuer: str | None, is_owned: bool, account: str | None = None) -> Held:
    """Return what is known of a certificate that the CA `issuer` gave."""
    return Held(
        validity=certificate.validity,
        serial=certificate.serial,
        cert_id=certificate.ari_id,
        issuer=issuer,
        is_owned=is_owned,
        account=account,
        signed_by=certificate.issuer,
        key_kind=certificate.key_kind,
    )


def _more(kept: object, value: object) -> object:
    """Return what counts for more of a bucket, or of the moments of certificates: what either of the two says."""
    if kept is None or value is None:
        return value if kept is None else kept
    if isinstance(kept, list) and isinstance(value, list):
        return [*kept, *(one for one in value if one not in kept)]
    before, after = read_moment(kept), read_moment(value)
    return kept if before and after and before > after else value


def _result(kind: str, fields: Mapping[str, object]) -> str | None:
    if kind == "order failed":
        return str(fields["kind"]).replace(" ", "_")
    return "issued" if kind == "certificate issued" else None


def _name(lineage: Lineage) -> str:
    return f"{lineage.host} {lineage.key_kind}"


def _json(value: object) -> "JsonValue":
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, tuple | list):
        return [_json(one) for one in value]
    if isinstance(value, Mapping):
        return _mapping(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def _mapping(document: Mapping[str, object]) -> "Mapping[str, JsonValue]":
    return {key: _mapping(value) if isinstance(value, Mapping) else _json(value) for key, value in document.items()}
