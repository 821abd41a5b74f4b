"""What the daemon gives up: memory images, the looks of others of its user, rights of root, readable files."""

import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxyd.daemon.privileges import OF_DAEMON, OF_WORKER, Right
from tests.support.cached import NO_CA, get, keep_certificates, start_cached, status, tls
from tests.support.daemon import DaemonProcess, eventually
from tests.support.nobody import NOBODY, become_nobody
from tests.support.processes import issuer, workers
from tests.support.upstream import Upstream

HOST = "one.example.test"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that everybody reaches: those of other tests are the user's alone."""
    made = Path(tempfile.mkdtemp(prefix="proxyd-"))
    yield made
    shutil.rmtree(made)


def unlimited() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    os.umask(0)


def as_nobody() -> None:
    unlimited()
    become_nobody()


def facts(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def rights(pid: int) -> set[int]:
    mask = int(facts(pid)["CapEff"], 16)
    return {bit for bit in range(64) if mask >> bit & 1}


def supervisor(daemon: DaemonProcess) -> int:
    assert daemon.process is not None
    return daemon.process.pid


@pytest.mark.parametrize("prepare", [unlimited, as_nobody])
def test_no_process_leaves_a_memory_image_or_lets_others_look_in(
    directory: Path, upstream: Upstream, prepare: Callable[[], None]
) -> None:
    daemon = DaemonProcess(directory)
    keep_certificates(daemon, HOST)
    daemon.configure({HOST: upstream.port}, acme=NO_CA, workers=2)
    if prepare is as_nobody and os.getuid() == 0:
        for path in (daemon.directory, *daemon.directory.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    daemon.start(prepare=prepare)
    try:
        everybody = [supervisor(daemon), issuer(daemon), *workers(daemon)]
        for pid in everybody:
            limit = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core" in line)
            assert limit.split()[4:6] == ["0", "0"]
            assert facts(pid)["Umask"] == "0077"
            if Path(f"/proc/{pid}").stat().st_uid != 0:  # what is not dumpable is root's (proc(5))
                assert Path(f"/proc/{pid}/fd").stat().st_uid == 0
        for _ in range(10):  # every worker takes the key out of the cache, by a file in memory
            assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    finally:
        daemon.stop()
    assert "Traceback" not in daemon.log()


def test_each_process_keeps_the_rights_that_it_needs(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {HOST: upstream.port}, workers=2)
    had = rights(os.getpid())
    for pid in (supervisor(daemon), issuer(daemon)):
        assert rights(pid) == had & OF_DAEMON
    for pid in workers(daemon):
        assert rights(pid) == had & OF_WORKER
        assert Right.NET_BIND_SERVICE not in rights(pid)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_crash_leaves_no_image(daemon: DaemonProcess, upstream: Upstream, number: signal.Signals) -> None:
    start_cached(daemon, {HOST: upstream.port}, workers=1, prepare=unlimited)
    process = daemon.process
    assert process is not None
    process.send_signal(number)
    _, ended = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    assert os.WTERMSIG(ended) == number
    assert not os.WCOREDUMP(ended)


def test_what_it_writes_is_its_own(daemon: DaemonProcess, upstream: Upstream) -> None:
    log = daemon.directory / "access.log"
    start_cached(daemon, {HOST: upstream.port}, prepare=unlimited, log={"access": {"file": str(log)}})
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    eventually(lambda: log.exists() and log.stat().st_size, what=daemon.log)
    made = [log, *(one for one in daemon.cache.rglob("*") if one.is_file())]
    assert len(made) > 2
    assert {one.stat().st_mode & 0o077 for one in made} == {0}
