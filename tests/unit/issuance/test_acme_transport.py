"""A CA that stops in the middle must not keep our connections to it."""

import asyncio
import gc
import random
import socket
import ssl
import threading
from pathlib import Path

import pytest
from aiohttp import web

from pebble.server import make_api_certificate
from proxyd.certs.key import generate_key
from proxyd.core.failure import IssuanceError
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.acme_signer import AccountSigner
from proxyd.issuance.acme_transport import AcmeTransport
from tests.support.daemon import eventually


def test_no_connection_outlives_the_transport_when_the_ca_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncio.constants.SSL_SHUTDOWN_TIMEOUT", 0.1)  # so long newer Pythons wait for a goodbye
    bundle = tmp_path / "bundle.pem"
    make_api_certificate(tmp_path, bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pebble-api.pem", tmp_path / "pebble-api.key")
    ended, accepted = threading.Event(), list[socket.socket]()

    def hang(listener: socket.socket) -> None:
        while not ended.is_set():
            try:
                accepted.append(context.wrap_socket(listener.accept()[0], server_side=True))
            except OSError:
                continue
        for one in accepted:
            one.close()

    async def ask(port: int) -> None:
        before = open_files()
        transport = AcmeTransport(
            directory_url=f"https://127.0.0.1:{port}/",
            tls=ssl.create_default_context(cafile=str(bundle)),
            clock=SystemClock(),
            rng=random.Random(1),
            request_seconds=0.5,
        )
        with pytest.raises(IssuanceError):
            await transport.directory()
        await transport.close()
        await asyncio.to_thread(eventually, lambda: open_files() <= before + len(accepted))

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


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


async def test_the_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Queue[bytes]()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "direct.invalid")
        for directory_url, is_asked in (("https://ca.invalid/", True), ("https://direct.invalid/", False)):
            transport = AcmeTransport(
                directory_url=directory_url, tls=ssl.create_default_context(), clock=SystemClock(), rng=random.Random(1)
            )
            with pytest.raises(IssuanceError):
                await transport.directory()
            await transport.close()
            assert asked.empty() is not is_asked
            while not asked.empty():
                head = asked.get_nowait()
                assert head.startswith(b"CONNECT ca.invalid:443 ")
                assert b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n" in head


async def test_an_order_has_its_full_time_however_many_requests_hang(tmp_path: Path) -> None:
    bundle, base, hanging = tmp_path / "bundle.pem", "", asyncio.Semaphore(0)
    make_api_certificate(tmp_path, bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pebble-api.pem", tmp_path / "pebble-api.key")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/window":
            hanging.release()
            await asyncio.Event().wait()
        return web.json_response(
            {"newNonce": base, "newAccount": base, "newOrder": base}, headers={"Replay-Nonce": "abcdefgh12345678"}
        )

    server = await asyncio.get_running_loop().create_server(web.Server(answer), "127.0.0.1", 0, ssl=context)
    base = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    transport = AcmeTransport(
        directory_url=base,
        tls=ssl.create_default_context(cafile=str(bundle)),
        clock=SystemClock(),
        rng=random.Random(1),
        request_seconds=1.0,
    )
    await transport.directory()
    windows = [asyncio.create_task(transport.get(f"{base}window")) for _ in range(8)]
    for _ in windows:
        await hanging.acquire()
    answered = await transport.post(f"{base}order", {}, AccountSigner(generate_key("p256")))
    assert answered.status == 200
    for one in windows:
        one.cancel()
    await asyncio.gather(*windows, return_exceptions=True)
    await transport.close()
    server.close()


async def test_the_directory_is_fetched_anew_when_a_signed_request_finds_nothing(tmp_path: Path) -> None:
    """A CA answers 404 for the window of a certificate that is not its own, too: that says nothing of its URLs."""
    bundle, base, asked = tmp_path / "bundle.pem", "", list[str]()
    make_api_certificate(tmp_path, bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pebble-api.pem", tmp_path / "pebble-api.key")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        headers = {"Replay-Nonce": "abcdefgh12345678"}
        if request.path.startswith("/gone"):
            return web.json_response({"type": "urn:ietf:params:acme:error:malformed"}, status=404, headers=headers)
        return web.json_response({"newNonce": base, "newAccount": base, "newOrder": base}, headers=headers)

    server = await asyncio.get_running_loop().create_server(web.Server(answer), "127.0.0.1", 0, ssl=context)
    base = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    transport = AcmeTransport(
        directory_url=f"{base}dir",
        tls=ssl.create_default_context(cafile=str(bundle)),
        clock=SystemClock(),
        rng=random.Random(1),
    )
    for number in range(5):
        await transport.directory()
        with pytest.raises(IssuanceError):
            await transport.get(f"{base}gone/{number}")
    await transport.directory()
    assert asked.count("/dir") == 1
    with pytest.raises(IssuanceError):
        await transport.post(f"{base}gone", {}, AccountSigner(generate_key("p256")))
    await transport.directory()
    assert asked.count("/dir") == 2
    await transport.close()
    server.close()
