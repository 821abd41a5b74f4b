"""Connecting: every https upstream is verified, and what is wrong is said with the next step."""

import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from proxyd.upstream.connection import UpstreamConnection
from proxyd.upstream.dialer import ConnectFailed
from tests.support.pools import apply, connected, failure, made_group, made_pools, options
from tests.support.private_ca import PrivateCa, pin_of
from tests.support.small_server import small_server

DAY = timedelta(days=1)


@pytest.fixture
def ca(tmp_path: Path) -> PrivateCa:
    return PrivateCa(tmp_path / "ca")


async def outcome(issuer: PrivateCa, *names: str, host: str = "127.0.0.1", **tls: object) -> str:
    """Return how connecting to a server with a certificate for `names` ends."""
    async with (
        small_server(tls=issuer.server(*names)) as server,
        made_group(f"https://{host}:{server.port}", upstream_tls=tls) as group,
    ):
        return await failure(group.pools[0])


async def test_a_private_ca_verifies_addresses_and_names(ca: PrivateCa) -> None:
    assert await outcome(ca, "127.0.0.1", ca=str(ca.root)) == "connected"
    assert await outcome(ca, "localhost", ca=str(ca.root), host="localhost") == "connected"
    assert await outcome(ca, "app.internal.test", ca=str(ca.root), server_name="app.internal.test") == "connected"


async def test_the_name_that_is_asked_for_is_sent(ca: PrivateCa) -> None:
    asked: list[str | None] = []
    context = ca.server("app.internal.test")
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with small_server(tls=context) as server:
        tls = {"ca": str(ca.root), "server_name": "app.internal.test"}
        async with made_group(f"https://127.0.0.1:{server.port}", upstream_tls=tls) as group:
            assert await failure(group.pools[0]) == "connected"
    assert asked == ["app.internal.test"]


async def test_a_ca_that_nobody_trusts_is_refused(ca: PrivateCa, tmp_path: Path) -> None:
    says = await outcome(ca, "127.0.0.1")
    assert "its certificate does not chain to a trusted CA" in says
    assert "set upstream_tls.ca to the root certificate of its CA (PEM)" in says
    assert 'trust its key alone: `upstream_tls: {pin: "sha256:' in says
    other = PrivateCa(tmp_path / "other")
    says = await outcome(ca, "127.0.0.1", ca=str(other.root))
    assert f"no CA in {other.root} (upstream_tls.ca) signed it" in says


async def test_another_name_is_refused(ca: PrivateCa) -> None:
    says = await outcome(ca, "other.test", ca=str(ca.root))
    assert "its certificate is not for 127.0.0.1: set upstream_tls.server_name to a name that is in it" in says
    says = await outcome(ca, "other.test", ca=str(ca.root), host="localhost")
    assert "is not for localhost" in says
    says = await outcome(ca, "127.0.0.1", ca=str(ca.root), server_name="app.test")
    assert "is not for app.test" in says


async def test_a_certificate_out_of_its_time_is_refused(ca: PrivateCa) -> None:
    for begins, says in ((-9 * DAY, "has expired"), (9 * DAY, "is not valid yet")):
        context = ca.server("127.0.0.1", begins=begins, lasts=DAY)
        async with (
            small_server(tls=context) as server,
            made_group(f"https://127.0.0.1:{server.port}", upstream_tls={"ca": str(ca.root)}) as group,
        ):
            assert says in await failure(group.pools[0])


async def test_a_pin_replaces_chain_and_name(ca: PrivateCa) -> None:
    context = ca.server("whatever.test")
    made = ca.make("whatever.test")
    context.load_cert_chain(made)
    async with small_server(tls=context) as server:
        url = f"https://127.0.0.1:{server.port}"
        async with made_group(url, upstream_tls={"pin": pin_of(made)}) as group:
            assert await failure(group.pools[0]) == "connected"
        async with made_group(url, upstream_tls={"pin": "sha256:" + "0" * 64}) as group:
            says = await failure(group.pools[0])
        line = f'`upstream_tls: {{pin: "{pin_of(made)}"}}`'
        assert f"its key is not the one in upstream_tls.pin but {pin_of(made)}: if that is right, write {line}" in says
        async with made_group(url) as group:
            assert line in await failure(group.pools[0]), "nothing is configured: the line to paste"
            before = server.connections
            assert line in await failure(group.pools[0])
            assert server.connections <= before + 1, "looked at once a minute"
        assert server.heads == []


async def test_a_client_certificate_is_shown(ca: PrivateCa, tmp_path: Path) -> None:
    clients = PrivateCa(tmp_path / "clients")
    own = clients.make("proxy.test")
    async with small_server(tls=ca.server("127.0.0.1", client_ca=clients.root)) as server:
        tls = {"ca": str(ca.root), "cert": str(own), "key": str(own)}
        async with made_group(f"https://127.0.0.1:{server.port}", upstream_tls=tls) as group:
            assert await failure(group.pools[0]) == "connected"


async def test_no_tls_where_tls_is_meant() -> None:
    async with small_server() as server, made_group(f"https://127.0.0.1:{server.port}") as group:
        server.name = "plain"
        says = await failure(group.pools[0], 1)
    assert "TLS" in says


async def test_a_broken_file_connects_nowhere_and_its_mend_is_taken_at_a_reload(ca: PrivateCa, tmp_path: Path) -> None:
    file = tmp_path / "root.pem"
    async with small_server(tls=ca.server("127.0.0.1")) as server, made_pools() as pools:
        host = options(f"https://127.0.0.1:{server.port}", upstream_tls={"ca": str(file)})
        (group,) = apply(pools, host)
        result = await connected(group.pools[0])
        assert isinstance(result, ConnectFailed)
        assert result.is_ours
        assert f"upstream_tls.ca: {file} cannot be used (No such file or directory)" in str(result)
        file.write_bytes(ca.root.read_bytes())
        (mended,) = apply(pools, host)
        assert await failure(mended.pools[0]) == "connected"
        file.write_text("broken")  # the last good one serves on
        assert apply(pools, host) == [mended]
        assert await failure(mended.pools[0]) == "connected"
        borrowed = await connected(mended.pools[0])
        assert isinstance(borrowed, UpstreamConnection)
        file.write_bytes(PrivateCa(tmp_path / "other").root.read_bytes())
        (other,) = apply(pools, host)
        assert "does not chain" in await failure(other.pools[0])
        mended.pools[0].give_back(borrowed)
        assert not borrowed.is_open


async def test_hosts_with_the_same_tls_share_one_context(ca: PrivateCa) -> None:
    async with made_pools() as pools:
        groups = apply(pools, *(options(f"https://127.0.0.1:{n}", upstream_tls={"ca": str(ca.root)}) for n in (1, 2)))
        assert groups[0].pools[0].dialer.trust is groups[1].pools[0].dialer.trust is not None


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    async with made_group(f"unix:{path}") as group:
        says = await failure(group.pools[0])
        assert says == f"unix:{path} cannot be reached: No such file or directory; is it running?"
        async with small_server(path=path):
            assert await failure(group.pools[0]) == "connected"
        if os.geteuid() != 0:
            path.chmod(0)
            assert "give the user that proxyd runs as" in await failure(group.pools[0])


async def test_all_addresses_of_a_name_are_tried() -> None:
    infos = {info[4][0] for info in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    async with small_server() as server, made_group(f"http://localhost:{server.port}") as group:
        assert await failure(group.pools[0]) == "connected", infos


async def test_what_does_not_listen_or_has_no_address_is_said() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with made_group(f"http://127.0.0.1:{port}", "http://no-such-name.invalid:80") as group:
            refused, unknown = [await failure(pool) for pool in group.pools]
    assert refused == f"http://127.0.0.1:{port} cannot be reached: Connection refused; is it running?"
    assert unknown.startswith("http://no-such-name.invalid:80 cannot be reached: ")


async def test_one_that_does_not_accept_is_given_up() -> None:
    with socket.socket() as sock, socket.socket() as first, socket.socket() as second:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for one in (first, second):  # the queue is full
            one.setblocking(False)
            one.connect_ex(sock.getsockname())
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        async with made_group(url) as group:
            result = await connected(group.pools[0], 0.2)
    assert isinstance(result, ConnectFailed)
    assert result.timed_out
    assert str(result) == f"{url} did not accept a connection within 0.2 s"
