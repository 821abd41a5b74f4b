"""The admin port: what it answers, to whom, and what it does when something is wrong."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from proxyd.admin import admin_listener
from proxyd.admin.admin_listener import AdminListener, is_ours
from proxyd.admin.host_filter import HostFilter
from proxyd.config.values import ListenAddress
from proxyd.frontend.listener import Listener, ListenError

ANY = ListenAddress.parse("127.0.0.1:0")


class Pages:
    trouble: str | None = None
    fails = False
    seconds = 0.0

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise RuntimeError("secret")
        return f"for {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"

    async def overview(self, asked: HostFilter) -> str:
        return f"<p>{asked.search}</p>"

    async def host(self, name: str) -> tuple[str, bool]:
        return f"<p>{name}</p>", name != "nobody.example.com"

    async def status(self) -> Mapping[str, Any]:
        return {"ok": True}

    async def not_ready(self) -> str | None:
        return self.trouble


@contextlib.asynccontextmanager
async def running(pages: Pages) -> AsyncIterator[int]:
    listener = AdminListener(pages, names=("web1",))
    listener.listen([ANY])
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(listener.run())
        yield listener.local_address[1]
        task.cancel()


async def ask(port: int, line: str, *fields: str) -> tuple[int, dict[str, str], str]:
    """Return status, fields and body; the connection ends with the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join([f"{line} HTTP/1.1", *(fields or ("Host: localhost",)), "", ""]).encode())
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    first, *lines = head.split("\r\n")
    return int(first.split(" ")[1]), dict(one.lower().split(": ", 1) for one in lines), body


async def test_the_pages() -> None:
    async with running(Pages()) as port:
        status, fields, body = await ask(port, "GET /metrics", "Host: localhost", "Accept: x/y")
        assert (status, body, fields["content-type"]) == (200, "for x/y\n", "text/plain; version=0.0.4; charset=utf-8")
        assert (fields["connection"], fields["cache-control"], fields["server"]) == ("close", "no-store", "proxyd")
        status, fields, body = await ask(port, "GET /status.json")
        assert (status, body, fields["content-type"]) == (200, '{"ok": true}\n', "application/json")
        assert (await ask(port, "GET /healthz"))[0] == (await ask(port, "GET /readyz"))[0] == 200
        status, fields, body = await ask(port, "HEAD /metrics")
        assert (status, body) == (200, "")
        assert int(fields["content-length"]) > 0


async def test_the_pages_for_people() -> None:
    async with running(Pages()) as port:
        status, fields, body = await ask(port, "GET /status?q=shop")
        assert (status, body, fields["content-type"]) == (200, "<p>shop</p>", "text/html; charset=utf-8")
        assert "default-src 'none'" in fields["content-security-policy"]
        assert "unsafe" not in fields["content-security-policy"]
        assert (fields["x-content-type-options"], fields["x-frame-options"]) == ("nosniff", "deny")
        assert "access-control-allow-origin" not in fields
        assert (await ask(port, "GET /status/2001%3Adb8%3A%3A1"))[::2] == (200, "<p>2001:db8::1</p>")
        assert (await ask(port, "GET /status/nobody.example.com"))[0] == 404
        assert (await ask(port, "HEAD /status"))[::2] == (200, "")
        status, fields, _ = await ask(port, "GET /")
        assert (status, fields["location"]) == (302, "/status")


async def test_machines_look_with_head_too() -> None:
    pages = Pages()
    async with running(pages) as port:
        assert [(await ask(port, f"HEAD {path}"))[::2] for path in ("/healthz", "/readyz")] == [(200, "")] * 2
        pages.trouble = "stopping"
        assert (await ask(port, "HEAD /readyz"))[::2] == (503, "")


async def test_nothing_can_be_changed() -> None:
    async with running(Pages()) as port:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            for path in ("/metrics", "/status", "/status/a.example.com"):
                status, fields, _ = await ask(port, f"{method} {path}")
                assert (status, fields["allow"]) == (405, "get,head")
        assert [(await ask(port, f"GET {path}"))[0] for path in ("/x", "/status/", "/metrics/")] == [404] * 3


async def test_who_is_not_ready_says_why_and_lives() -> None:
    pages = Pages()
    pages.trouble = "starting"
    async with running(pages) as port:
        assert (await ask(port, "GET /readyz"))[::2] == (503, "starting\n")
        assert (await ask(port, "GET /healthz"))[0] == 200


async def test_a_foreign_page_learns_nothing() -> None:
    async with running(Pages()) as port:
        status, _, body = await ask(port, "GET /metrics", "Host: rebound.example.com:9180")
        assert status == 421
        assert "for " not in body
        for path in ("/", "/status", "/status/a.example.com", "/status.json", "/readyz"):
            assert (await ask(port, f"GET {path}", "Host: rebound.example.com:9180"))[0] == 421
        assert (await ask(port, "GET /status", "Host: WEB1:9180"))[0] == 200


async def test_a_page_that_fails_is_logged_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pages = Pages()
    pages.fails = True
    async with running(pages) as port:
        status, _, body = await ask(port, "GET /metrics")
        assert (status, "secret" in body) == (500, False)
        assert (await ask(port, "GET /healthz"))[0] == 200
    assert "an admin page failed" in caplog.text


async def test_a_page_has_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_listener, "_ANSWER_SECONDS", 0.05)
    pages = Pages()
    pages.seconds = 60
    async with running(pages) as port:
        assert (await ask(port, "GET /metrics"))[0] == 503


async def test_who_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_listener, "_CONNECTION_SECONDS", 0.05)
    async with running(Pages()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_listener, "_MOST_CONNECTIONS", 2)
    async with running(Pages()) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises((ConnectionError, IndexError)):
            await ask(port, "GET /healthz")
        for _, writer in silent:
            writer.close()
        await asyncio.sleep(0.05)
        assert (await ask(port, "GET /healthz"))[0] == 200


async def test_a_port_that_is_taken_is_told_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    first, second = AdminListener(Pages()), AdminListener(Pages())
    first.listen([ANY])
    port = first.local_address[1]
    with caplog.at_level(logging.ERROR):
        second.listen([ListenAddress.parse(f"127.0.0.1:{port}")])
    (record,) = caplog.records
    assert f"another program uses port {port}" in record.__dict__["reason"]
    tasks = [asyncio.ensure_future(one.run()) for one in (first, second)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_addresses_come_and_go() -> None:
    listener, other = AdminListener(Pages()), AdminListener(Pages())
    listener.listen([])
    other.listen([ANY])
    taken = ListenAddress.parse(f"127.0.0.1:{other.local_address[1]}")
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one.run()) for one in (listener, other)]
        listener.use([ANY], listener.changed([ANY]))
        first = listener.local_address[1]
        assert (await ask(first, "GET /healthz"))[0] == 200
        with pytest.raises(ListenError, match="another program uses port"):
            listener.changed([ListenAddress.parse("127.0.0.2:0"), taken])
        everywhere = ListenAddress.parse(f"0.0.0.0:{first}")  # what it listens on itself is no hindrance
        listener.use([everywhere], listener.changed([everywhere]))
        assert (await ask(first, "GET /healthz"))[0] == 200
        listener.use([], listener.changed([]))
        with pytest.raises(ConnectionRefusedError):
            await ask(first, "GET /healthz")
        for one in running:
            one.cancel()


async def test_an_end_of_the_pages_ends_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Listener) -> None:
        raise OSError("no descriptor is left")

    monkeypatch.setattr(Listener, "start", fail)
    listener = AdminListener(Pages())
    listener.listen([ANY])
    await listener.run()
    assert "the admin pages ended" in caplog.text


@pytest.mark.parametrize(
    "host",
    [
        None,
        "127.0.0.1",
        "127.0.0.1:9180",
        "[::1]",
        "[::1]:9180",
        "localhost",
        "LOCALHOST:80",
        "192.0.2.1",
        "proxyd:9180",
        "a-1",
    ],
)
def test_hosts_that_no_foreign_page_can_send(host: str | None) -> None:
    assert is_ours(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "proxyd.",
        "a b",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "localhost:x",
        "a@127.0.0.1",
        "[::1",
    ],
)
def test_hosts_that_a_foreign_page_can_send(host: str) -> None:
    assert not is_ours(host)
