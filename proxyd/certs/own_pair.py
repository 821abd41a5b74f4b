"""A certificate and its key from files of the operator: one that can serve, or why not, and what is worth a look."""

import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives import serialization

from proxyd.certs.certificate import Certificate, InvalidCertificate, reading
from proxyd.certs.chain import Chain, is_ca, name_of
from proxyd.certs.inspection import weaknesses
from proxyd.certs.pem_file import PemFile
from proxyd.certs.system_roots import SystemRoots
from proxyd.core.hostname import Hostname
from proxyd.core.renewal import begins_later
from proxyd.core.trouble import Urgency, urgency_of

Option = Literal["cert", "key"]
_SHOWN = 5


class PairError(Exception):
    """The files cannot serve. `option` is the one that has to be mended; the text names its file, why, what to do."""

    def __init__(self, option: Option, file: Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.option: Option = option


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What is worth a look although it serves; `is_alarm`: some clients are refused."""

    option: Option
    text: str
    to_do: str
    is_alarm: bool = False

    def __str__(self) -> str:
        return f"{self.text}: {self.to_do}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPair:
    """What was read: the leaf first, then who signed each, then what else was there."""

    certificate: Certificate
    remarks: tuple[Remark, ...] = ()


def read_pair(cert: Path, key: Path | None, roots: SystemRoots, now: datetime) -> OwnPair:
    """Return what is in a certificate's file and its key's; no `key`: it is in the same file. Blocks.

    Raises PairError.
    """
    of_cert = _read("cert", cert)
    of_key = of_cert if key is None else _read("key", key)
    if not of_cert.certificates:
        raise PairError("cert", cert, _no_certificate(of_cert, of_key, key))
    if of_key.key is None:
        raise PairError("cert" if key is None else "key", key or cert, _no_key(of_key, key))
    if of_cert.is_der:
        raise PairError("cert", cert, f"is DER, not PEM: convert it with `{_conversion('x509', cert)}`")
    if key is not None and of_key.is_der:
        raise PairError("key", key, f"is DER, not PEM: convert it with `{_conversion('pkey', key)}`")
    chain = Chain.of(of_cert.certificates, of_key.key, roots)
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (*chain.links, *chain.others))
    try:
        certificate = Certificate.assemble(of_key.key, pem)
    except InvalidCertificate as error:
        raise PairError("cert", cert, _unusable(error, chain, key or cert)) from None
    return OwnPair(certificate=certificate, remarks=tuple(_remarks(chain, now, cert, key)))


def lacks(certificate: Certificate, host: Hostname, cert: Path) -> str | None:
    """Return that a certificate is not for a host, or None."""
    if certificate.covers(host):
        return None
    names = sorted(map(str, certificate.names))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = ", ".join(names[:_SHOWN])
    return (
        f"{cert}: the certificate is not for {host}, but for {shown}{more}: put one there that has this name too, or "
        f"list {host} as a host of its own"
    )


def out_of_time(certificate: Certificate, now: datetime, cert: Path) -> str | None:
    """Return that clients refuse a certificate at this moment, or None."""
    if certificate.not_after <= now:
        return (
            f"{cert}: the certificate expired at {certificate.not_after:%Y-%m-%d %H:%M} UTC: clients refuse it; put "
            "its successor there"
        )
    if begins_later(certificate.validity, now):
        return (
            f"{cert}: the certificate is not valid before {certificate.not_before:%Y-%m-%d %H:%M} UTC: clients refuse "
            "it until then; look at the clock of this machine too"
        )
    return None


class PairCheck:
    """What `proxyd check` says of pairs: each is read once, however many hosts have it. Implements Judge."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._roots = SystemRoots()
        self._read: dict[tuple[Path, Path | None], OwnPair | PairError] = {}

    def __call__(self, cert: Path, key: Path | None, hosts: Iterable[Hostname]) -> Iterator[tuple[Option, str, bool]]:
        """Yield the option, what is wrong with its file for `hosts`, and whether one is not served then. Blocks."""
        files = cert, key
        if files not in self._read:
            try:
                self._read[files] = read_pair(cert, key, self._roots, self._now)
            except PairError as error:
                self._read[files] = error
        found = self._read[files]
        if isinstance(found, PairError):
            yield found.option, str(found), True
            return
        for host in hosts:
            if reason := lacks(found.certificate, host, cert):
                yield "cert", reason, True
        yield from self._of_pair(found, cert)

    def _of_pair(self, pair: OwnPair, cert: Path) -> Iterator[tuple[Option, str, bool]]:
        certificate = pair.certificate
        if reason := out_of_time(certificate, self._now, cert):
            yield "cert", reason, certificate.not_after <= self._now
        elif urgency_of(certificate.validity, self._now) > Urgency.NOTICED:
            ends = f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"
            yield (
                "cert",
                f"{cert}: the certificate expires at {ends}: nothing renews it; put its successor there",
                False,
            )
        for remark in pair.remarks:
            yield remark.option, str(remark), False


def _read(option: Option, file: Path) -> PemFile:
    try:
        return PemFile.read(file)
    except InvalidCertificate as error:
        raise PairError(option, file, str(error)) from None


def _no_certificate(of_cert: PemFile, of_key: PemFile, key: Path | None) -> str:
    if of_cert.is_request:
        return "has a certificate signing request and no certificate: put there what the CA answered to it"
    if key is not None and of_key.certificates and not of_key.has_key:
        return f"has the key, and {key} the certificate: exchange the values of cert and key"
    return "has a key and no certificate: it is for the option key; put the certificate and its chain here"


def _no_key(of_key: PemFile, key: Path | None) -> str:
    if of_key.key_trouble == "the private key is encrypted":
        return (
            "the private key is encrypted, and nobody is ever asked for its password: write it without one "
            "(`openssl pkey -in KEY -out NEW`), readable by proxyd only"
        )
    if of_key.key_trouble:
        return f"{of_key.key_trouble}: write one that `openssl pkey -in FILE -check -noout` takes"
    if key is None:
        return "has no private key: set key to the file that has it"
    return "has a certificate and no private key: is it for the option cert?"


def _conversion(command: str, file: Path) -> str:
    return f"openssl {command} -inform der -in {file} -out {file.with_suffix('.pem')}"


def _unusable(error: InvalidCertificate, chain: Chain, key: Path) -> str:
    reason = str(error)
    if "does not belong" in reason:
        hint = ""
        if is_ca(chain.leaf):
            hint = f"; it begins with the CA {name_of(chain.leaf.subject)}: is it the chain without your certificate?"
        return f"the key in {key} does not belong to the certificate{hint}: put the two there that were made together"
    if "alternative name" in reason:
        return f"{reason}: clients look nowhere else for names; have one made that has them there"
    return reason


def _remarks(chain: Chain, now: datetime, cert: Path, key: Path | None) -> Iterator[Remark]:
    if chain.missing is not None:
        place = f", from {chain.missing_url}" if chain.missing_url else ""
        yield Remark(
            option="cert",
            text=f"{cert}: leaf only: Go clients will fail with unknown authority, others now and then",
            to_do=f"append the intermediate, the certificate of {chain.missing}{place}",
            is_alarm=True,
        )
    with suppress(InvalidCertificate), reading():
        for text in weaknesses(chain, now):
            what, _, to_do = text.partition(": ")
            yield Remark(option="cert", text=f"{cert}: {what}", to_do=to_do, is_alarm=True)
    if not chain.is_in_order:
        text = f"{cert}: the certificates are in a wrong order; they are sent in the right one"
        yield Remark(option="cert", text=text, to_do="put yours first, then the one that signed it, and so on")
    if chain.others:
        names = ", ".join(name_of(one.subject) for one in chain.others[:_SHOWN])
        text = f"{cert}: not a part of the chain, and sent all the same: {names}"
        yield Remark(option="cert", text=text, to_do="remove it, or add what is missing between")
    if chain.is_self_signed:
        text = f"{cert}: the certificate is self-signed: only clients that were given it accept it"
        yield Remark(option="cert", text=text, to_do="fine for tests; else get one of a CA")
    option: Option = "cert" if key is None else "key"
    key = key or cert
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError:
        return
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        text = f"{key}: every user of this machine can read the private key (mode {mode:04o})"
        yield Remark(option=option, text=text, to_do=f"chmod 640 {key}, with a group that proxyd is in, or 600")
