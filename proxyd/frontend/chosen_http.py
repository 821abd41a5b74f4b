"""Which HTTP a client and we have agreed on, once the TLS handshake is over (RFC 7301)."""

import asyncio
from collections.abc import Callable
from typing import cast


class ChosenHttp(asyncio.Protocol):
    """Makes the protocol that a connection is served by, and leaves it to that."""

    def __init__(self, h1: Callable[[], asyncio.Protocol], h2: Callable[[], asyncio.Protocol]) -> None:
        self._h1, self._h2 = h1, h2

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        is_h2 = tls is not None and tls.selected_alpn_protocol() == "h2"
        chosen = (self._h2 if is_h2 else self._h1)()
        cast("asyncio.Transport", transport).set_protocol(chosen)
        chosen.connection_made(transport)
