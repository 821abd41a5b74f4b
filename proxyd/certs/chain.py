"""How certificates of a file or a server follow each other: which is the leaf, who signed it, what is missing."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from proxyd.certs.certificate import PUBLIC_FORM, InvalidCertificate, reading
from proxyd.certs.key import PrivateKey
from proxyd.certs.system_roots import SystemRoots, signed

_MOST_TEXT = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """`links`: the leaf, then who signed each; `others`: what belongs to none of them.

    `missing`: the name of who signed the last one, when clients need it and it is not there; `missing_url`: where the
    last one says it is. `is_in_order`: so they stood there.
    """

    links: tuple[x509.Certificate, ...]
    others: tuple[x509.Certificate, ...] = ()
    is_in_order: bool = True
    is_self_signed: bool = False
    missing: str | None = None
    missing_url: str | None = None

    @property
    def leaf(self) -> x509.Certificate:
        return self.links[0]

    @classmethod
    def of(cls, certificates: Sequence[x509.Certificate], key: PrivateKey | None, roots: SystemRoots) -> "Chain":
        """Return the chain of at least one certificate, whose leaf belongs to `key`, where one does."""
        leaf = _leaf(certificates, key)
        links, left = [leaf], [one for one in certificates if one is not leaf]
        while not is_own_issuer(links[-1]):
            issuer = next((one for one in left if signed(links[-1], one)), None)
            if issuer is None:
                break
            links.append(issuer)
            left.remove(issuer)
        # One root more, or one certificate of another chain, hurts no client; a leaf in the wrong place does.
        is_in_order = all(one is other for one, other in zip(links, certificates, strict=False))
        lacks = len(links) == 1 and not is_own_issuer(leaf) and not roots.issued(leaf)
        return cls(
            links=tuple(links),
            others=tuple(left),
            is_in_order=is_in_order,
            is_self_signed=is_own_issuer(leaf),
            missing=name_of(leaf.issuer) if lacks else None,
            missing_url=_issuer_url(leaf) if lacks else None,
        )


def is_own_issuer(certificate: x509.Certificate) -> bool:
    """Return whether it signed itself."""
    return signed(certificate, certificate)


def name_of(name: x509.Name) -> str:
    """Return a name for people; whoever wrote it, it is one line."""
    try:
        with reading():
            text = name.rfc4514_string()
    except InvalidCertificate:
        return "a name that cannot be read"
    return "".join(char if char.isprintable() else " " for char in text[:_MOST_TEXT]) or "nobody (an empty name)"


def public_bytes(holder: x509.Certificate | PrivateKey) -> bytes:
    """Return what a certificate and its key have in common."""
    return holder.public_key().public_bytes(*PUBLIC_FORM)


def _leaf(certificates: Sequence[x509.Certificate], key: PrivateKey | None) -> x509.Certificate:
    if key is not None:
        own = public_bytes(key)
        for one in certificates:
            with suppress(InvalidCertificate), reading():
                if public_bytes(one) == own:
                    return one
        return certificates[0]
    return next((one for one in certificates if not is_ca(one)), certificates[0])


def is_ca(certificate: x509.Certificate) -> bool:
    """Return whether it may sign others."""
    with suppress(InvalidCertificate, x509.ExtensionNotFound), reading():
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    return False


def _issuer_url(certificate: x509.Certificate) -> str | None:
    with suppress(InvalidCertificate), reading():
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        for one in access:
            place = one.access_location
            is_url = isinstance(place, x509.UniformResourceIdentifier)
            if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS and is_url and place.value.isprintable():
                return str(place.value)[:_MOST_TEXT]
    return None
