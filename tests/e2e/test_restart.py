"""A stop and a start: who comes meanwhile waits and is served, who has just come is, and WebSockets hear of it."""

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA, for_anybody, get, keep_certificates, start_cached, status, tls
from tests.support.command import command
from tests.support.daemon import DaemonProcess, eventually
from tests.support.service_manager import ServiceManager
from tests.support.upstream import Upstream

HOST = "one.example.test"
_GOING_AWAY = b"\x88\x02\x03\xe9"


def configure(daemon: DaemonProcess, upstream: Upstream, **more: Any) -> None:
    keep_certificates(daemon, HOST)
    daemon.configure({HOST: upstream.port}, acme=NO_CA, **more)


def begun(daemon: DaemonProcess, port: int = 0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port or daemon.https_port), 10)


def served(raw: socket.socket) -> bool:
    with for_anybody().wrap_socket(raw, server_hostname=HOST) as connection:
        connection.sendall(get(HOST))
        return connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("numbers", [(1, 1), (2, 2), (1, 3), (3, 1)], ids=str)
def test_who_comes_while_nobody_runs_is_served_by_who_comes_next(
    daemon: DaemonProcess, upstream: Upstream, numbers: tuple[int, int]
) -> None:
    before, after = numbers
    with ServiceManager(daemon) as manager:
        configure(daemon, upstream, workers=before)
        manager.start()
        assert served(begun(daemon))
        manager.stop()
        waiting = [begun(daemon) for _ in range(20)]
        configure(daemon, upstream, workers=after)
        manager.start()
        assert all(map(served, waiting))
        assert all(served(begun(daemon)) for _ in range(20))


def test_an_address_that_is_no_longer_written_is_given_up(daemon: DaemonProcess, upstream: Upstream) -> None:
    with ServiceManager(daemon) as manager:
        configure(daemon, upstream, workers=2)
        manager.start()
        assert {len(kept) for kept in manager.kept.values()} == {2}
        manager.stop()
        configure(daemon, upstream, workers=2, listen={"https": f"127.0.0.1:{daemon.https_port}", "http": []})
        manager.start()
        assert list(manager.kept) == [f"proxyd bound 127.0.0.1_{daemon.https_port}"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", daemon.http_port))


def test_a_smaller_address_can_follow_a_larger_one(daemon: DaemonProcess, upstream: Upstream) -> None:
    with ServiceManager(daemon) as manager:
        configure(daemon, upstream, workers=2, listen={"https": f":{daemon.https_port}", "http": []})
        manager.start()
        manager.stop()
        configure(daemon, upstream, workers=2)
        manager.start()
        assert served(begun(daemon))


@pytest.mark.parametrize("numbers", [(1, 1), (2, 2), (3, 2), (1, 2)], ids=str)
def test_what_a_reload_adds_is_kept_and_what_it_removes_is_given_up(
    daemon: DaemonProcess, upstream: Upstream, numbers: tuple[int, int]
) -> None:
    before, after = numbers
    old, new = f"127.0.0.1:{daemon.https_port}", f"127.0.0.1:{free_port()}"
    names = [f"proxyd bound {one.replace(':', '_')}" for one in (old, new)]
    with ServiceManager(daemon) as manager:
        configure(daemon, upstream, workers=before)
        manager.start()
        manager.stop()
        configure(daemon, upstream, workers=after)
        manager.start()
        configure(daemon, upstream, workers=after, listen={"https": [old, new], "http": []})
        assert command(daemon, "reload").status == 0
        eventually(lambda: [*manager.kept] == names, what=lambda: f"{manager.kept}\n{daemon.log()}")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", daemon.http_port))
        assert all(served(begun(daemon)) for _ in range(20)), "nobody waits at a socket that has no worker any more"
        manager.stop()
        waiting = [begun(daemon, port) for _ in range(10) for port in (daemon.https_port, int(new[10:]))]
        manager.start()
        assert all(map(served, waiting))
        assert [*manager.kept] == names


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_reload_takes_over_is_kept_under_its_new_name(
    daemon: DaemonProcess, upstream: Upstream, workers: int
) -> None:
    with ServiceManager(daemon) as manager:
        configure(daemon, upstream, workers=workers, listen={"https": f"0.0.0.0:{daemon.https_port}", "http": []})
        manager.start()
        configure(daemon, upstream, workers=workers, listen={"https": f":{daemon.https_port}", "http": []})
        assert command(daemon, "reload").status == 0
        eventually(lambda: [*manager.kept] == [f"proxyd bound _{daemon.https_port}"], what=daemon.log)
        manager.stop()
        waiting = [begun(daemon) for _ in range(10)]
        manager.start()
        assert all(map(served, waiting))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_family_that_the_machine_lacked_is_bound_by_who_comes_next_and_kept(
    daemon: DaemonProcess, upstream: Upstream, workers: int
) -> None:
    port = daemon.https_port
    with ServiceManager(daemon) as manager:
        configure(daemon, upstream, workers=workers, listen={"https": f"0.0.0.0:{port}", "http": []})
        manager.start()
        manager.stop()
        name = f"proxyd bound _{port}"  # as it is kept where there is no IPv6
        manager.kept[name] = manager.kept.pop(f"proxyd bound 0.0.0.0_{port}")
        waiting = begun(daemon)
        configure(daemon, upstream, workers=workers, listen={"https": f":{port}", "http": []})
        manager.start()
        assert served(waiting)
        assert served(socket.create_connection(("::1", port), 10))
        eventually(lambda: len(manager.kept[name]) == 2 * workers, what=lambda: f"{manager.kept}\n{daemon.log()}")


def test_a_family_that_somebody_else_has_does_not_end_the_other_one(daemon: DaemonProcess, upstream: Upstream) -> None:
    port = daemon.https_port
    with ServiceManager(daemon) as manager, socket.create_server(("::", port), family=socket.AF_INET6):
        configure(daemon, upstream, workers=2, listen={"https": f"0.0.0.0:{port}", "http": []})
        manager.start()
        manager.stop()
        manager.kept[f"proxyd bound _{port}"] = manager.kept.pop(f"proxyd bound 0.0.0.0_{port}")
        configure(daemon, upstream, workers=2, listen={"https": f":{port}", "http": []})
        manager.start()
        assert served(begun(daemon))
        assert "clients are served by one of IPv4 and IPv6 only" in daemon.log()


def test_a_refused_reload_changes_nothing_of_what_is_kept(daemon: DaemonProcess, upstream: Upstream) -> None:
    with ServiceManager(daemon) as manager, socket.create_server(("127.0.0.1", 0)) as other:
        configure(daemon, upstream, workers=2)
        manager.start()
        kept = {name: [*numbers] for name, numbers in manager.kept.items()}
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        free = f"127.0.0.1:{free_port()}"
        configure(daemon, upstream, workers=2, listen={"https": [free, taken], "http": []})
        assert command(daemon, "reload").status == 2
        assert manager.kept == kept
        assert served(begun(daemon))


@pytest.mark.parametrize("workers", [1, 2])
def test_signs_of_life_come_again_and_again(daemon: DaemonProcess, upstream: Upstream, workers: int) -> None:
    with ServiceManager(daemon, watchdog=3) as manager:
        configure(daemon, upstream, workers=workers)
        manager.start()
        eventually(lambda: manager.told["WATCHDOG=1"] >= 3, what=daemon.log)


@pytest.mark.parametrize("workers", [1, 2])
def test_who_has_just_come_is_served_before_the_end(daemon: DaemonProcess, upstream: Upstream, workers: int) -> None:
    start_cached(daemon, {HOST: upstream.port}, workers=workers)
    with begun(daemon) as before_hello:
        before_request = for_anybody().wrap_socket(begun(daemon), server_hostname=HOST)
        assert status(tls(daemon.https_port, HOST, get(HOST))) == 200  # by then they were accepted
        stopping = threading.Thread(target=daemon.stop)
        stopping.start()
        eventually(lambda: "stopping" in daemon.log())
        with before_request:
            before_request.sendall(get(HOST).replace(b"Connection: close\r\n", b""))
            assert b"\r\nConnection: close\r\n" in before_request.recv(65536)
        assert served(before_hello)
        stopping.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_who_stalls_on_the_way_holds_up_no_stop(daemon: DaemonProcess, upstream: Upstream, workers: int) -> None:
    start_cached(daemon, {HOST: upstream.port}, workers=workers, drain="1s")
    hello, nothing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        for_anybody().wrap_bio(nothing, hello, server_hostname=HOST).do_handshake()
    with begun(daemon), begun(daemon) as half, begun(daemon, daemon.http_port):
        half.sendall(hello.read())
        assert half.recv(1)  # the rest of what the server said, and of the handshake, is waited for
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 4.5  # a hello has 5 s, a handshake 15 s


@contextmanager
def switching(said: bytes) -> Iterator[int]:
    """Run an upstream that takes an upgrade, says something, and then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(20)
                connection.recv(65536)
                switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                connection.sendall(switched + said)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def until_the_end(tunnel: ssl.SSLSocket) -> bytes:
    received = b""
    try:
        while data := tunnel.recv(65536):
            received += data
    except ConnectionError:
        pass
    return received


@pytest.mark.parametrize("end", ["stop", "removed host"])
@pytest.mark.parametrize(
    ("said", "then"),
    [
        (b"", _GOING_AWAY),
        (b"\x81\x05hello", _GOING_AWAY),
        (b"\x01\x05hello", _GOING_AWAY),  # a fragment: a control frame may follow
        (b"\x81\x05hel", b""),
        (b"\x81", b""),
        (b"\x88\x02\x03\xe8", b""),  # it has said so itself
    ],
    ids=["nothing yet", "a frame", "a fragment", "half a frame", "half a head", "closed"],
)
def test_a_web_socket_is_closed_between_frames_only(
    make_daemon: Callable[[], DaemonProcess], upstream: Upstream, said: bytes, then: bytes, end: str
) -> None:
    daemon = make_daemon()
    with switching(said) as port:
        start_cached(daemon, {HOST: port, "two.example.test": upstream.port}, drain="0s", workers=1)
        with for_anybody().wrap_socket(begun(daemon), server_hostname=HOST) as tunnel:
            wish = get(HOST).replace(b"Connection: close", b"Connection: Upgrade\r\nUpgrade: websocket")
            tunnel.sendall(wish)
            head = b""
            while not head.endswith(b"\r\n\r\n" + said):
                head += tunnel.recv(65536)
            stopping = threading.Thread(target=daemon.stop)
            if end == "stop":
                stopping.start()
            else:
                daemon.configure({"two.example.test": upstream.port}, acme=NO_CA, drain="0s", workers=1)
                daemon.reload()
            assert until_the_end(tunnel) == then
        daemon.stop()
        if end == "stop":
            stopping.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_right_after_the_start_serves_who_waits_for_the_cache(
    daemon: DaemonProcess, upstream: Upstream, workers: int
) -> None:
    many = [f"host{number}.example.test" for number in range(1000)]
    keep_certificates(daemon, HOST)
    for name in many:  # all of them are read, none is for its name
        shutil.copy(daemon.cache / HOST, daemon.cache / name)
    daemon.configure(dict.fromkeys([HOST, *many], upstream.port), acme=NO_CA, workers=workers, drain="10s")
    with ServiceManager(daemon) as manager:
        manager.start()
        raw = begun(daemon)
        with for_anybody().wrap_socket(raw, server_hostname=HOST, do_handshake_on_connect=False) as connection:
            stopping = threading.Thread(target=manager.stop)
            stopping.start()
            connection.do_handshake()
            connection.sendall(get(HOST))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        stopping.join()
