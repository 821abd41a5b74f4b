"""One daemon and one recording upstream for each module; each test begins with neither connections nor records."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess
from tests.support.raw_upstream import RawUpstream
from tests.support.wire import HOST, NEIGHBOUR, OTHER, Wire


@pytest.fixture(scope="module")
def host_options() -> dict[str, Any]:
    """Options of every host; a module may say others."""
    return {}


@pytest.fixture(scope="module")
def daemon_options() -> dict[str, Any]:
    """Options of the whole daemon; a module may say others."""
    return {}


@pytest.fixture(scope="module")
def wire_of_module(
    tmp_path_factory: pytest.TempPathFactory, host_options: dict[str, Any], daemon_options: dict[str, Any]
) -> Iterator[Wire]:
    daemon = DaemonProcess(tmp_path_factory.mktemp("wire"))
    # HOST and NEIGHBOUR share a certificate. All are in the cache: there is nothing to order, and no CA.
    pems = {HOST: make_pem(HOST, NEIGHBOUR), OTHER: make_pem(OTHER)}
    daemon.cache.mkdir(mode=0o700)
    for host, pem in pems.items():
        (daemon.cache / host).write_bytes(pem)
        (daemon.cache / host).chmod(0o600)
    leaves = "".join(pem[pem.index(b"-----BEGIN CERT") :].decode() for pem in pems.values())
    with RawUpstream() as upstream:
        options = {"upstream": upstream.port, **host_options}
        hosts: dict[str, object] = {HOST: {"aliases": [NEIGHBOUR], "certificate": "shared", **options}, OTHER: options}
        daemon.configure(hosts, acme={"server": "https://127.0.0.1:9/directory"}, **daemon_options)
        daemon.start()
        one = Wire(daemon, upstream, ssl.create_default_context(cadata=leaves))
        yield one
        one.all_refused_have_ended()
        assert daemon.stop() == 0
    faults = [line for line in daemon.log().splitlines() if "unforeseen" in line or "Traceback" in line]
    assert not faults[:1], f"{len(faults)} faults"


@pytest.fixture
def wire(wire_of_module: Wire) -> Iterator[Wire]:
    wire_of_module.upstream.reset()
    yield wire_of_module
    assert not wire_of_module.upstream.failures
