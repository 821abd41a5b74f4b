"""Certificates of the operator's own: read from the files of `tls.cert` and `tls.key`, served, never renewed."""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from proxyd.certs.certificate import Certificate
from proxyd.certs.own_pair import OwnPair, PairError, lacks, out_of_time, read_pair
from proxyd.certs.system_roots import SystemRoots
from proxyd.config.model import Config
from proxyd.core.alarm import Alarm
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.manual import Manual
from proxyd.core.status import Facts
from proxyd.core.trouble import TroubleKind
from proxyd.issuance.memory import Memory
from proxyd.tls.certificate_table import CertificateTable
from proxyd.tls.context import load_pem

_log = logging.getLogger("proxyd.certificates")
#: Read and shown together: who is asked for meanwhile does not wait for ten thousand.
_AT_ONCE = 50
_NAMED = 5
_LOOK_SECONDS = 60.0
#: A certificate's file, and its key's where it has one of its own.
Files = tuple[Path, Path | None]
Read = OwnPair | PairError


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a host, and what that was made of."""

    read: Read | None
    serves: Certificate | None
    late: str | None
    facts: Facts


class OwnCertificates:
    """What cannot be used changes nothing: what serves a host serves on. `memory` has the story of each host."""

    def __init__(self, *, table: CertificateTable, memory: Memory, clock: Clock) -> None:
        self._table = table
        self._memory = memory
        self._clock = clock
        self._wanted: Mapping[Hostname, Files] = {}
        self._hosts: Mapping[Files, Sequence[Hostname]] = {}
        self._read: dict[Files, Read] = {}
        self._unread: set[Files] = set()
        self._told: dict[Files, object] = {}
        self._known: dict[Hostname, _Known] = {}

    def use(self, config: Config) -> None:
        """Serve these hosts from now on; `load` reads their files."""
        self._wanted = config.own_certificates
        hosts = defaultdict[Files, list[Hostname]](list)
        for host, files in self._wanted.items():
            hosts[files].append(host)
        self._hosts, self._unread, self._known = hosts, {*hosts}, {}
        self._read = {files: read for files, read in self._read.items() if files in self._unread}
        self._told = {files: told for files, told in self._told.items() if files in self._unread}

    def files(self, host: Hostname) -> str | None:
        """Return where the certificate of a host is, for people; None: it is not one of the operator's own."""
        files = self._wanted.get(host)
        return None if files is None else _manual(files).files

    async def load(self) -> None:
        """Read all files, and serve what can be served."""
        roots, unread = SystemRoots(), [*self._unread]
        for start in range(0, len(unread), _AT_ONCE):
            await self._take(unread[start : start + _AT_ONCE], roots)

    async def wait(self, host: Hostname) -> None:
        """Have the files of a host been read: a client asks for it."""
        files = self._wanted.get(host)
        if files is not None and files in self._unread:
            await self._take([files], SystemRoots())

    async def run(self) -> None:
        """Serve what has become valid, in the place of what ran out, for ever. Ends only by cancellation."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for host, files in [*self._wanted.items()]:
                if isinstance(pair := self._read.get(files), OwnPair):
                    self._show(host, files, pair)

    def facts(self, hosts: frozenset[Hostname] | None = None) -> Iterator[Facts]:
        """Yield what is known of each host, or of those among `hosts`. What has not changed is not made again."""
        now, late = self._clock.now(), dict[Files, str | None]()
        for host, files in self._wanted.items():
            if hosts is not None and host not in hosts:
                continue
            read, serves = self._read.get(files), self._table.certificate(host)
            if files not in late:
                late[files] = out_of_time(read.certificate, now, files[0]) if isinstance(read, OwnPair) else None
            known = self._known.get(host)
            if known is None or known.read is not read or known.serves is not serves or known.late != late[files]:
                facts = own_facts(host, files, read, serves, now)
                known = self._known[host] = _Known(read, serves, late[files], facts)
            yield known.facts

    async def _take(self, files: Sequence[Files], roots: SystemRoots) -> None:
        now = self._clock.now()
        self._read |= await asyncio.to_thread(lambda: {one: read_own(one, roots, now) for one in files})
        for one in files:
            if hosts := self._hosts.get(one):
                await self._use(one, hosts)
            self._unread.discard(one)

    async def _use(self, files: Files, hosts: Sequence[Hostname]) -> None:
        read = self._read.get(files)
        is_news = self._told.get(files) != _news(read)
        self._told[files] = _news(read)
        refused: dict[str, list[Hostname]] = defaultdict(list)
        for number, host in enumerate(hosts):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            if reason := self._show(host, files, read):
                refused[reason].append(host)
        if is_news:
            self._tell(files, read, hosts, refused)

    def _show(self, host: Hostname, files: Files, read: Read | None) -> str | None:
        """Return why what was read does not serve the host; what served serves on then."""
        if not isinstance(read, OwnPair):
            return str(read) if read is not None else None
        serving, now, certificate = self._table.certificates(host), self._clock.now(), read.certificate
        if reason := lacks(certificate, host, files[0]):
            return reason
        if (reason := out_of_time(certificate, now, files[0])) and any(_is_valid(one, now) for one in serving):
            return reason
        if serving != (certificate,):
            try:
                self._table.put(host, [certificate])
            except OSError as error:  # ssl.SSLError is an OSError
                return f"{files[0]}: OpenSSL does not take it: {error}"
        return reason

    def _tell(
        self, files: Files, read: Read | None, hosts: Sequence[Hostname], refused: Mapping[str, Sequence[Hostname]]
    ) -> None:
        cert = str(files[0])
        for reason, of in refused.items():
            serves = sum(1 for one in of if self._table.certificate(one) is not None)
            then = "what served them serves on" if serves == len(of) else "clients that ask for them are refused"
            fields = {"hosts": _listed(of), "reason": reason, "then": then}
            _log.error("a certificate of your own cannot be used as it is", extra=fields)
            for host in of[:_AT_ONCE]:
                self._memory.note("own refused", host, None, reason=reason)
        fine = [one for one in hosts if not any(one in of for of in refused.values())]
        if not isinstance(read, OwnPair) or not fine:
            return
        one = read.certificate
        serial, until = f"{one.serial:x}", one.not_after
        extra = {"hosts": _listed(fine), "cert": cert, "serial": serial, "not_after": until}
        _log.info("a certificate of your own serves", extra=extra)
        for host in fine[:_AT_ONCE]:
            self._memory.note("own used", host, None, serial=serial, cert=cert, not_after=until.isoformat())
        for remark in read.remarks:
            _log.warning("look at a certificate of your own", extra={"about": remark.text, "next": remark.to_do})


def read_own(files: Files, roots: SystemRoots, now: datetime) -> Read:
    """Return what the files have, or why it cannot serve. Blocks."""
    try:
        pair = read_pair(*files, roots, now)
        load_pem(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair.certificate.pem)
    except PairError as error:
        return error
    except OSError as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        return PairError("cert", files[0], f"OpenSSL does not take it ({reason}): have one made with a usual key")
    return pair


def facts_of_files(wanted: Mapping[Hostname, Files], now: datetime) -> Iterator[Facts]:
    """Yield what a daemon that starts now would find in the files. Blocks."""
    roots = SystemRoots()
    read = {files: read_own(files, roots, now) for files in {*wanted.values()}}
    for host, files in wanted.items():
        found = read[files]
        serves = found.certificate if isinstance(found, OwnPair) and found.certificate.covers(host) else None
        yield own_facts(host, files, found, serves, now)


def own_facts(host: Hostname, files: Files, read: Read | None, serves: Certificate | None, now: datetime) -> Facts:
    """Return what is known of a host with a certificate of the operator's own; `serves`: what clients see."""
    kind = serves.key_kind if serves else "p256"
    is_used = isinstance(read, OwnPair) and read.certificate == serves
    return Facts(
        plan=Plan(lineage=Lineage(host=host, names=(host,), key_kind=kind), issuers=(), challenges=()),
        state=_manual(files, _reason(host, files, read, now)),
        held=_held(serves) if serves else None,
        alarms=tuple(_alarms(read)) if is_used else (),
    )


def _reason(host: Hostname, files: Files, read: Read | None, now: datetime) -> str | None:
    if read is None:
        return None
    if isinstance(read, PairError):
        return str(read)
    return lacks(read.certificate, host, files[0]) or out_of_time(read.certificate, now, files[0])


def _alarms(read: Read | None) -> Iterator[Alarm]:
    for remark in read.remarks if isinstance(read, OwnPair) else ():
        if remark.is_alarm:
            to_do = f"{remark.to_do[:1].upper()}{remark.to_do[1:]}."
            yield Alarm(reason=remark.text, to_do=to_do, kind=TroubleKind.OWN_CERTIFICATE)


def _manual(files: Files, reason: str | None = None) -> Manual:
    cert, key = files
    return Manual(cert=str(cert), key=str(key or cert), reason=reason)


def _held(one: Certificate) -> Held:
    return Held(
        validity=one.validity,
        serial=one.serial,
        cert_id="",
        issuer=None,
        is_owned=False,
        signed_by=one.issuer,
        key_kind=one.key_kind,
    )


def _is_valid(one: Certificate, now: datetime) -> bool:
    return one.not_before <= now < one.not_after


def _news(read: Read | None) -> object:
    return str(read) if isinstance(read, PairError) else read


def _listed(hosts: Iterable[Hostname]) -> str:
    names = [one.text for one in hosts]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
