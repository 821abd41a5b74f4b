"""Which HTTP a client and we have agreed on, once the TLS handshake is over (RFC 7301)."""

import asyncio
from collections.abc import Callable
from typing import cast

from proxyd.proxy.exchange import Downstream
from proxyd.tls.server_object import client_chain


class ChosenHttp(asyncio.Protocol):
    """Tells who the client is, makes the protocol that its connection is served by, and leaves it to that."""

    def __init__(
        self, downstream: Downstream, h1: Callable[[], asyncio.Protocol], h2: Callable[[], asyncio.Protocol]
    ) -> None:
        self._downstream, self._h1, self._h2 = downstream, h1, h2

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        self._downstream.client_chain = client_chain(tls)
        is_h2 = tls is not None and tls.selected_alpn_protocol() == "h2"
        chosen = (self._h2 if is_h2 else self._h1)()
        cast("asyncio.Transport", transport).set_protocol(chosen)
        chosen.connection_made(transport)
