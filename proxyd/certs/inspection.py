"""What is in a certificate with its chain, in words, and what is wrong with it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxyd.certs.certificate import PUBLIC_FORM, InvalidCertificate, reading
from proxyd.certs.chain import Chain, is_ca, is_own_issuer, name_of, public_bytes
from proxyd.certs.key import PrivateKey
from proxyd.certs.system_roots import SystemRoots
from proxyd.core.hostname import Hostname
from proxyd.core.moment import distance
from proxyd.core.renewal import Validity
from proxyd.core.status import rfc3339
from proxyd.core.trouble import Urgency, urgency_of

_WEAK_HASHES = ("md5", "sha1")
_LEAST_RSA_BITS = 2048
_STAPLED = x509.TLSFeatureType.status_request
#: Safari takes no longer lives, of whatever CA.
_LONGEST_LIFE = timedelta(days=825)
_MOST_NAMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """`wrong`: for what clients refuse it, each with the next step; `remarks`: what is worth a look.

    `facts`: title and text, for people; `document`: the same for scripts.
    """

    facts: tuple[tuple[str, str], ...]
    document: dict[str, Any]
    wrong: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        certificates: Sequence[x509.Certificate],
        *,
        key: PrivateKey | None,
        asked: Hostname | None,
        roots: SystemRoots,
        now: datetime,
    ) -> "Inspection":
        """Look at at least one certificate; `key`: what should belong to it; `asked`: what it should be for.

        Raises InvalidCertificate: there is something in it that cannot be read.
        """
        with reading():
            return _Look(Chain.of(certificates, key, roots), key, asked, roots, now).inspection()


class _Look:
    def __init__(
        self, chain: Chain, key: PrivateKey | None, asked: Hostname | None, roots: SystemRoots, now: datetime
    ) -> None:
        self._chain, self._leaf = chain, chain.leaf
        self._key, self._asked, self._roots, self._now = key, asked, roots, now
        self._validity = Validity(not_before=self._leaf.not_valid_before_utc, not_after=self._leaf.not_valid_after_utc)
        self._names = names_of(self._leaf)

    def inspection(self) -> Inspection:
        leaf, more = self._leaf, len(self._names) - _MOST_NAMES
        names = ", ".join(self._names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        matches = None if self._key is None else public_bytes(leaf) == public_bytes(self._key)
        facts = [("names", names or "none")]
        facts += [("subject", name_of(leaf.subject))] if list(leaf.subject) else []
        facts += [
            ("issuer", "itself" if self._chain.is_self_signed else name_of(leaf.issuer)),
            ("valid", self._life()),
            ("key", kind_of(leaf.public_key())),
            ("serial", f"{leaf.serial_number:x}"),
            ("fingerprint", f"{fingerprint_of(leaf)} (of the certificate)"),
            ("pin", f"{pin_of(leaf)} (of the key, as upstream_tls.pin takes it)"),
            ("chain", self._followers()),
        ]
        facts += [("key file", "belongs to the certificate" if matches else "does NOT belong to it")] * (
            matches is not None
        )
        return Inspection(
            facts=tuple(facts),
            document=self._document(matches),
            wrong=tuple(self._wrong(matches)),
            remarks=tuple(self._remarks()),
        )

    def _document(self, matches: bool | None) -> dict[str, Any]:
        leaf, chain = self._leaf, self._chain
        return {
            "names": self._names,
            "subject": name_of(leaf.subject),
            "issuer": name_of(leaf.issuer),
            "serial": f"{leaf.serial_number:x}",
            "not_before": rfc3339(self._validity.not_before),
            "not_after": rfc3339(self._validity.not_after),
            "key": kind_of(leaf.public_key()),
            "fingerprint": fingerprint_of(leaf),
            "pin": pin_of(leaf),
            "chain": [name_of(one.subject) for one in chain.links],
            "others": [name_of(one.subject) for one in chain.others],
            "is_self_signed": chain.is_self_signed,
            "is_complete": chain.missing is None,
            "key_matches": matches,
        }

    def _life(self) -> str:
        begin, end = self._validity.not_before, self._validity.not_after
        if begin > self._now:
            state = f"begins {distance(begin - self._now)}"
        else:
            state = f"{'expires' if end > self._now else 'EXPIRED'} {distance(end - self._now)}"
        return f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC ({state})"

    def _followers(self) -> str:
        chain = self._chain
        if chain.is_self_signed:
            return "self-signed: there is none"
        if chain.missing is not None:
            return f"INCOMPLETE: the leaf only; {chain.missing} is missing"
        last = chain.links[-1]
        then = ", then ".join(name_of(one.subject) for one in chain.links[1:]) or "nothing more"
        if is_own_issuer(last):
            return f"complete: {then} (the root, which clients do not need)"
        known = "a CA that this machine trusts" if self._roots.issued(last) else "whose CA this machine does not know"
        return f"complete: {then}, signed by {name_of(last.issuer)}, {known}"

    def _wrong(self, matches: bool | None) -> Iterator[str]:
        if matches is False:
            yield "the key does not belong to the certificate: put the two together that were made together"
        if self._validity.not_after <= self._now:
            yield f"it expired {distance(self._validity.not_after - self._now)}: clients refuse it; renew it"
        elif self._validity.not_before > self._now:
            yield "it is not valid yet: clients refuse it until then; look at the clock of this machine too"
        if not self._names:
            yield "it has no subject alternative name: clients look nowhere else for names; have one made with them"
        elif self._asked is not None and not covers(self._names, self._asked):
            yield f"it is not for {self._asked}: have one made that has this name, or ask for one of its names"
        if self._chain.missing is not None:
            place = f" ({self._chain.missing_url} has it)" if self._chain.missing_url else ""
            yield (
                "leaf only: Go clients will fail with unknown authority, others now and then: append the intermediate, "
                f"the certificate of {self._chain.missing}{place}"
            )
        if not self._chain.is_in_order:
            yield "the certificates are in a wrong order: put the leaf first, then the one that signed it, and so on"
        yield from weaknesses(self._chain, self._now)

    def _remarks(self) -> Iterator[str]:
        if self._chain.is_self_signed:
            yield "it is self-signed: only clients that were given it accept it"
        elif is_ca(self._leaf):
            yield "it is a CA's, not a server's"
        if self._chain.others:
            others = ", ".join(name_of(one.subject) for one in self._chain.others)
            yield f"not a part of the chain: {others}"
        if urgency_of(self._validity, self._now) in (
            Urgency.FIFTH_LEFT,
            Urgency.TENTH_LEFT,
            Urgency.TWENTIETH_LEFT,
        ):
            yield f"it expires {distance(self._validity.not_after - self._now)}: see that it is renewed"
        if self._validity.lifetime > _LONGEST_LIFE and not is_ca(self._leaf):
            yield f"it is valid for {self._validity.lifetime.days} days: Apple's programs take at most 825"


def weaknesses(chain: Chain, now: datetime) -> Iterator[str]:
    """Yield what makes clients refuse a chain whoever signed it, beside the end of its leaf."""
    for one in chain.links:
        whose = "it" if one is chain.leaf else f"the certificate of {name_of(one.subject)}"
        if one is not chain.leaf and one.not_valid_after_utc <= now and not is_own_issuer(one):
            ended = f"{one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            yield f"{whose} expired at {ended}, and clients refuse the chain: put its successor into the chain"
        key = one.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
            yield f"{whose} has an RSA key of {key.key_size} bits: clients want 2048; have one made with another key"
        algorithm = one.signature_hash_algorithm
        if algorithm is not None and algorithm.name in _WEAK_HASHES and not is_own_issuer(one):
            yield f"{whose} is signed with {algorithm.name.upper()}: clients refuse that; have a new one made"
    with suppress(x509.ExtensionNotFound):
        usage = chain.leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & {*usage}:
            yield "it is not for servers (extended key usage): have one made for TLS servers"
    with suppress(x509.ExtensionNotFound):
        if _STAPLED in chain.leaf.extensions.get_extension_for_class(x509.TLSFeature).value:
            yield (
                "it wants a stapled OCSP answer (must-staple), and proxyd staples none: some clients refuse it; have "
                "one made without"
            )


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses in a certificate, in its order; whatever is written there, each is one word."""
    with suppress(x509.ExtensionNotFound, InvalidCertificate), reading():
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(one.value) for one in found if isinstance(one, x509.DNSName | x509.IPAddress)]
        return ["".join(char if char.isprintable() else "?" for char in name) for name in names]
    return []


def covers(names: Sequence[str], asked: Hostname) -> bool:
    """Return whether one of the names is for a host (RFC 9525 §6.3)."""
    known, (_, _, parent) = {one.lower() for one in names}, asked.text.partition(".")
    return asked.text in known or (not asked.is_ip_address and f"*.{parent}" in known)


def kind_of(key: Any) -> str:
    """Return the kind and size of a public key."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        known = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
        return f"EC, {known.get(key.curve.name, key.curve.name)}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the certificate."""
    return f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}"


def pin_of(holder: x509.Certificate | PrivateKey) -> str:
    """Return the SHA-256 of the public key."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(holder.public_key().public_bytes(*PUBLIC_FORM))
    return f"sha256:{digest.finalize().hex()}"


def pem_of(certificates: Sequence[x509.Certificate]) -> str:
    """Return certificates as PEM."""
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)
