"""A machine that has one of IPv4 and IPv6 only."""

import ctypes
import errno
import platform
import socket
import struct

import pytest

from tests.support.cached import get, keep_certificates, status
from tests.support.daemon import DaemonProcess, eventually

HOST = "one.example.test"
_SECCOMP, _NO_NEW_PRIVILEGES, _FILTER = 22, 38, 2
_SOCKET = 41  # its number on x86_64


def _forbid(family: int) -> None:
    """Have this process and its children get no sockets of a family: what socket(2) says where there is none."""
    program = b"".join(
        struct.pack("HBBI", *one)
        for one in (
            (0x20, 0, 0, 0),  # the number of the call
            (0x15, 0, 3, _SOCKET),
            (0x20, 0, 0, 16),  # its first argument
            (0x15, 0, 1, family),
            (0x06, 0, 0, 0x00050000 | errno.EAFNOSUPPORT),
            (0x06, 0, 0, 0x7FFF0000),
        )
    )
    buffer = ctypes.create_string_buffer(program)
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None)
    assert libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert libc.prctl(_SECCOMP, _FILTER, described) == 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter is written for x86_64")
@pytest.mark.parametrize("missing", [socket.AF_INET, socket.AF_INET6])
def test_both_families_means_those_that_there_are(daemon: DaemonProcess, missing: socket.AddressFamily) -> None:
    keep_certificates(daemon, HOST)
    listen = {"https": f":{daemon.https_port}", "http": f":{daemon.http_port}"}
    daemon.configure({HOST: "unix:/nobody.sock"}, acme={"server": "https://127.0.0.1:1/dir"}, listen=listen)
    daemon.start(wait=False, prepare=lambda: _forbid(missing))
    address = "127.0.0.1" if missing == socket.AF_INET6 else "::1"

    def answer() -> int:
        assert daemon.process is not None
        assert daemon.process.poll() is None, daemon.log()
        try:
            with socket.create_connection((address, daemon.http_port), 5) as sock:
                sock.sendall(get(HOST))
                return status(sock.recv(65536))
        except ConnectionError:
            return 0

    eventually(lambda: answer() == 308, what=daemon.log)
