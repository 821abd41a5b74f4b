"""A CA that stops in the middle must not keep our connections to it."""

import asyncio
import gc
import random
import socket
import ssl
import threading
from pathlib import Path

import pytest

from pebble.server import make_api_certificate
from proxyd.core.failure import IssuanceError
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.acme_transport import AcmeTransport


def test_no_connection_outlives_the_transport_when_the_ca_hangs(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    make_api_certificate(tmp_path, bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pebble-api.pem", tmp_path / "pebble-api.key")
    ended = threading.Event()

    def hang(listener: socket.socket) -> None:
        accepted = []
        while not ended.is_set():
            try:
                accepted.append(context.wrap_socket(listener.accept()[0], server_side=True))
            except OSError:
                continue
        for one in accepted:
            one.close()

    async def ask(port: int) -> None:
        tls = ssl.create_default_context(cafile=str(bundle))
        transport = AcmeTransport(
            directory_url=f"https://127.0.0.1:{port}/",
            tls=tls,
            clock=SystemClock(),
            rng=random.Random(1),
            request_seconds=0.5,
        )
        with pytest.raises(IssuanceError):
            await transport.directory()
        await transport.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        thread = threading.Thread(target=hang, args=(listener,))
        thread.start()
        try:
            asyncio.run(ask(listener.getsockname()[1]))
            gc.collect()  # what was left open warns now, and warnings are errors
        finally:
            ended.set()
            thread.join()
