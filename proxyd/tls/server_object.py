"""Our end of a TLS connection: what it still has to say when a handshake fails, and who the client proved to be."""

import ssl
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Self, cast

from cryptography import x509

from proxyd.tls.revocation import listed_until

#: A client, some authorities above it, a root: more is no honest chain.
_LONGEST_CHAIN = 5
#: Clients of one context that may come back with a ticket, which has only their own certificate in it.
_MOST_KNOWN = 1000
_UNSENT = "proxyd_unsent"
_DER = 2  # as in _ssl.ENCODING_DER


class ClientRefused(ssl.SSLError):
    """OpenSSL takes a client's certificates, and we do not."""

    def __init__(self, why: str) -> None:
        super().__init__(ssl.SSL_ERROR_SSL, why)
        self.library, self.reason = "proxyd", why


class ServerObject(ssl.SSLObject):
    """Keeps the alert of a handshake that fails: asyncio and uvloop drop it, and clients would see a reset."""

    _outgoing: ssl.MemoryBIO

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **kwargs: Any) -> Self:
        self = cast("Self", super()._create(incoming, outgoing, *args, **kwargs))  # type: ignore[misc]
        self._outgoing = outgoing
        return self

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            setattr(error, _UNSENT, self._outgoing.read())
            raise


class AskingObject(ServerObject):
    """Of a context that asks clients for a certificate.

    `client_chain`: the certificates (DER) by which the client proved who it is, its own first; (): it showed none.
    """

    client_chain: tuple[bytes, ...] = ()

    def do_handshake(self) -> None:
        super().do_handshake()
        leaf = self.getpeercert(binary_form=True)
        if leaf is None:
            return
        try:
            verified = () if self.session_reused else verified_chain(self)
            self.client_chain = cast("AskingContext", self.context).chain(leaf, verified)
        except ClientRefused as error:
            try:
                self.unwrap()  # the handshake is over: the alert that would say why is out of reach
            except ssl.SSLError:
                setattr(error, _UNSENT, self._outgoing.read())
            raise


class AskingContext(ssl.SSLContext):
    """Knows the chains of clients: a session that is resumed has the client's own certificate only (RFC 8446 §2.2)."""

    sslobject_class: type[ssl.SSLObject] = AskingObject
    #: The revocation lists (PEM) that it looks at.
    lists: bytes = b""

    def __init__(self, _protocol: int) -> None:
        super().__init__()
        self._known: OrderedDict[bytes, tuple[tuple[bytes, ...], float, float]] = OrderedDict()

    def chain(self, leaf: bytes, verified: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return the chain of a client, `verified` just now, or () when it resumes a session. Raises ClientRefused."""
        if verified:
            if len(verified) > _LONGEST_CHAIN:
                raise ClientRefused(f"more than {_LONGEST_CHAIN} certificates in its chain")
            self._known[leaf] = verified, *self._ends(verified)
            self._known.move_to_end(leaf)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
            return verified
        known, ends, list_ends = self._known.get(leaf) or ((leaf,), *self._ends((leaf,)))
        # OpenSSL looked at that, by the system's clock, when the session began: each ticket could make it last longer.
        now = time.time()  # noqa: TID251 - as OpenSSL does
        if ends <= now:
            raise ClientRefused("certificate has expired")
        if list_ends <= now:
            raise ClientRefused("CRL has expired")
        return known

    def _ends(self, chain: tuple[bytes, ...]) -> tuple[float, float]:
        return _end(chain), listed_until(chain[0], self.lists)


def unsent(error: Exception) -> bytes:
    """Return what would have told the client why its handshake failed."""
    return cast("bytes", getattr(error, _UNSENT, b""))


def client_fault(error: Exception) -> str | None:
    """Return what is wrong with the certificate of a client, or None: it is something else."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ClientRefused):
        return error.reason
    return "it showed none" if getattr(error, "reason", "") == "PEER_DID_NOT_RETURN_A_CERTIFICATE" else None


def client_chain(connection: object) -> tuple[bytes, ...]:
    """Return how the other end of a connection (its `ssl_object`) proved who it is; (): it did not."""
    return connection.client_chain if isinstance(connection, AskingObject) else ()


def verified_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """Return what OpenSSL verified, from the leaf to what is trusted; () when it did not have to."""
    if hasattr(connection, "get_verified_chain"):  # public since Python 3.13
        return tuple(connection.get_verified_chain())
    return _encoded(connection, "get_verified_chain")


def shown_chain(connection: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the certificates that the other end has shown, also when the handshake failed after that."""
    if hasattr(connection, "get_unverified_chain"):
        return tuple(connection.get_unverified_chain())
    return _encoded(connection, "get_unverified_chain")


def _encoded(connection: object, name: str) -> tuple[bytes, ...]:
    found: Iterable[Any] = getattr(getattr(connection, "_sslobj", None), name, tuple)() or ()
    return tuple(one.public_bytes(_DER) for one in found)


def _end(chain: tuple[bytes, ...]) -> float:
    return min(x509.load_der_x509_certificate(one).not_valid_after_utc.timestamp() for one in chain)
