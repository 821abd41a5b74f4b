"""Making connections to one upstream: TCP to each of its addresses, a unix socket, TLS that is always verified."""

import asyncio
import contextlib
import errno
import os
import ssl
from collections.abc import Coroutine
from functools import partial
from typing import Any

from cryptography import x509

from proxyd.certs.inspection import pin_of
from proxyd.config.host import UpstreamTls
from proxyd.config.upstream_trust import UpstreamTlsError
from proxyd.config.values import UpstreamAddress
from proxyd.core.hostname import Hostname
from proxyd.upstream.addresses import AddressBook
from proxyd.upstream.connection import UpstreamConnection, UpstreamError
from proxyd.upstream.tls_error import is_untrusted, pin_reason, tls_reason

#: What this machine lacks: the upstream is not to blame.
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
_CLOSING_SECONDS = 2.0
#: How long a connection to a name gets requests: the name may have other addresses by then.
_NAMED_SECONDS = 15.0
#: How often an upstream that cannot be verified is asked for the key that it shows, and how long that may take.
_SHOWN_SECONDS, _SHOWING_SECONDS = 60.0, 2.0


class ConnectFailed(UpstreamError):
    """There is no connection: nothing was sent. `is_ours`: the upstream is not to blame."""

    def __init__(self, message: str, *, timed_out: bool = False, is_ours: bool = False) -> None:
        super().__init__(message, timed_out=timed_out)
        self.is_ours = is_ours
        self.kind = "local" if is_ours else "connect_timeout" if timed_out else "connect"


class Dialer:
    """Connects. `trust` verifies an https upstream; it is an error if there is none."""

    def __init__(
        self,
        address: UpstreamAddress,
        *,
        tls: UpstreamTls,
        trust: ssl.SSLContext | UpstreamTlsError | None,
        book: AddressBook,
    ) -> None:
        self.address = address
        self.trust = trust
        self._name = str(address)
        self._options = tls
        self._asked = tls.server_name.text if tls.server_name is not None else address.host
        self._book = book
        self._is_literal = Hostname(address.host).is_ip_address
        self._worked: str | None = None  # when one before it did not
        self._shown: str | None = None
        self._look_at = float("-inf")

    async def connect(self, seconds: float) -> UpstreamConnection:
        """Return a connection, made within so many seconds. Raises ConnectFailed."""
        trust = self.trust
        if isinstance(trust, UpstreamTlsError):
            raise ConnectFailed(self.why_unverifiable(trust), is_ours=True)
        try:
            async with asyncio.timeout(seconds):
                if self.address.path is not None:
                    return await self._to_socket(self.address.path)
                if self._is_literal:
                    host = self.address.host
                    # The usual way is a coroutine shorter: a burst of requests has a thousand of them at a time.
                    return (await self._tcp(host))[1] if trust is None else await self._to(host, trust)
                connection = await self._to_any(trust, seconds)
                connection.until = asyncio.get_running_loop().time() + _NAMED_SECONDS
                return connection
        except TimeoutError:
            what = "TLS connection" if trust is not None else "connection"
            raise ConnectFailed(f"{self._name} did not accept a {what} within {seconds:g} s", timed_out=True) from None
        except OSError as error:
            if isinstance(error, ssl.SSLCertVerificationError) and is_untrusted(error):
                await self._look_at_key()
            raise self._failure(error) from None

    def why_unverifiable(self, error: UpstreamTlsError) -> str:
        """Return which file of the configuration cannot be used, and why."""
        return f"{self._name} cannot be verified: {self._options.place}.{error.key}: {error}"

    async def _look_at_key(self) -> None:
        """See which key an upstream shows that cannot be verified: the line to paste names it. Nothing is sent."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return
        self._look_at = now + _SHOWN_SECONDS
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with contextlib.suppress(OSError, ValueError):
            async with asyncio.timeout(_SHOWING_SECONDS):
                literal = self.address.host if self._is_literal else None
                host = literal or self._worked or (await self._book.addresses(self.address.host))[-1]
                transport, connection = await self._tls(host, context)
                self._shown = _shown_by(transport)
                connection.abort()

    async def _to_socket(self, path: str) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        return (await loop.create_unix_connection(lambda: UpstreamConnection(self._name), path))[1]

    async def _to_any(self, trust: ssl.SSLContext | None, seconds: float) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        addresses = await self._book.addresses(self.address.host)
        if self._worked in addresses:
            addresses = (self._worked, *(one for one in addresses if one != self._worked))
        for left, one in zip(range(len(addresses) - 1, 0, -1), addresses, strict=False):
            try:
                # One that does not answer leaves the others their share of the time.
                async with asyncio.timeout((end - loop.time()) / (left + 1)):
                    return await self._to(one, trust)
            except OSError as error:
                if error.errno in _OURS:
                    raise
        connection = await self._to(addresses[-1], trust)
        self._worked = addresses[-1]
        return connection

    def _tcp(self, host: str) -> Coroutine[Any, Any, tuple[asyncio.Transport, UpstreamConnection]]:
        loop = asyncio.get_running_loop()
        return loop.create_connection(partial(UpstreamConnection, self._name), host, self.address.port)

    async def _to(self, host: str, trust: ssl.SSLContext | None) -> UpstreamConnection:
        if trust is None:
            return (await self._tcp(host))[1]
        transport, connection = await self._tls(host, trust)
        if self._options.pin is not None and (shown := _shown_by(transport)) != self._options.pin:
            connection.abort()
            raise OSError(pin_reason(shown))
        return connection

    def _tls(
        self, host: str, trust: ssl.SSLContext
    ) -> Coroutine[Any, Any, tuple[asyncio.Transport, UpstreamConnection]]:
        return asyncio.get_running_loop().create_connection(
            partial(UpstreamConnection, self._name),
            host,
            self.address.port,
            ssl=trust,
            server_hostname=self._asked,
            ssl_shutdown_timeout=_CLOSING_SECONDS,
        )

    def _failure(self, error: OSError) -> ConnectFailed:
        if isinstance(error, ssl.SSLError):
            reason = tls_reason(error, asked=self._asked, options=self._options, shown=self._shown)
            return ConnectFailed(f"{self._name} is not connected to: {reason}")
        if error.errno in _OURS:
            reason = os.strerror(error.errno or 0)
            return ConnectFailed(f"this machine cannot connect to {self._name}: {reason}", is_ours=True)
        # asyncio's own text shows only the address
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        if isinstance(error, PermissionError) and self.address.path is not None:
            hint = "give the user that proxyd runs as the right to write to it"
        elif isinstance(error, FileNotFoundError | ConnectionRefusedError):
            hint = "is it running?"
        else:
            hint = ""
        return ConnectFailed(f"{self._name} cannot be reached: {reason}" + (f"; {hint}" if hint else ""))


def _shown_by(transport: asyncio.Transport) -> str:
    """Return the pin of the key that the other side showed."""
    certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return pin_of(x509.load_der_x509_certificate(certificate))
