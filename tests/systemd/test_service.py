"""The service from its installation to its end, on a machine of its own: each test goes on where the one before ended.

`tests/systemd/machine` boots the machine and runs this there; it is root's, and ports 80 and 443 are its own.
"""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from pebble.server import Pebble
from tests.support.daemon import ROOT, HttpsClient, eventually
from tests.support.upstream import Upstream

pytestmark = pytest.mark.systemd
HOST, OTHER = "one.example.test", "two.example.test"
CONFIG, CACHE, OPT = Path("/etc/proxyd/config.yaml"), Path("/var/lib/proxyd"), Path("/opt/proxyd")
UNITS = Path("/etc/systemd/system")
DROP_IN = UNITS / "proxyd.service.d" / "test.conf"


def run(*command: str, status: int = 0, cwd: Path = ROOT) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == status, f"{command}: {done.returncode}\n{output[-4000:]}"
    return output


def shown(name: str) -> str:
    return run("systemctl", "show", "proxyd", "--property", name, "--value").strip()


def journal() -> str:
    return run("journalctl", "-u", "proxyd", "--no-pager", "-n", "60", "-o", "cat")


def main_pid() -> int:
    return int(shown("MainPID"))


def children() -> set[int]:
    """Return the issuer and the workers."""
    pid = main_pid()
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def kinds() -> dict[int, str]:
    """Return what each of them is, by what they listen to."""
    listening = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if ":01BB " in line}
    return {one: "worker" if listening & set(_inodes(one)) else "issuer" for one in children()}


def _inodes(pid: int) -> Iterator[str]:
    for one in Path(f"/proc/{pid}/fd").iterdir():
        if match := re.fullmatch(r"socket:\[(\d+)\]", str(one.readlink())):
            yield match[1]


def one_of(kind: str) -> int:
    return next(pid for pid, found in kinds().items() if found == kind)


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), http_port=80, tls_port=443) as one:
        yield one


@pytest.fixture(scope="module")
def application() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


@pytest.fixture
def client(pebble: Pebble) -> HttpsClient:
    return HttpsClient(443, pebble.root())


def configure(pebble: Pebble, application: Upstream, *hosts: str, **more: Any) -> None:
    bundle = CONFIG.parent / "ca.pem"
    shutil.copy(pebble.bundle, bundle)
    bundle.chmod(0o644)
    acme = {"server": pebble.url, "ca_bundle": str(bundle)}
    hosts_to = dict.fromkeys(hosts, application.port)
    CONFIG.write_text(yaml.safe_dump({"acme": acme, "workers": 2, "drain": "5s", "hosts": hosts_to, **more}))


def served(client: HttpsClient, host: str = HOST) -> bool:
    try:
        return client.get(host).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


@contextmanager
def load(client: HttpsClient) -> Iterator[list[str]]:
    """Connect and ask, again and again, in several threads; at the end nothing may have failed."""
    failures, served, is_over = list[str](), list[str](), threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                answer = client.get(HOST)
                (served if answer.startswith(b"HTTP/1.1 200 ") else failures).append(answer[:80].decode())
            except (OSError, ssl.SSLError) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    try:
        yield served
        count = len(served)
        eventually(lambda: len(served) > count + 50, what=journal)
    finally:
        is_over.set()
        for one in threads:
            one.join()
    assert failures == []


def test_a_dry_run_changes_nothing() -> None:
    said = run("scripts/install", "--dry-run")
    assert "would write: /etc/proxyd/config.yaml" in said
    assert not OPT.exists()
    assert not CONFIG.exists()


def test_it_is_installed_and_installing_again_changes_nothing() -> None:
    run("python3", "-m", "venv", "--without-pip", str(OPT))  # as it was installed by hand before
    said = run("bash", "-c", "umask 077; exec scripts/install")
    assert (OPT / "by-hand" / "pyvenv.cfg").exists()
    assert "systemctl enable --now proxyd" in said
    release = (OPT / "current").readlink()
    assert "is what is used already" in run("scripts/install")
    assert (OPT / "current").readlink() == release
    assert run("/usr/local/bin/proxyd", "--version").startswith("proxyd ")
    assert run("proxyd", "config", "example") == CONFIG.read_text()
    assert (CONFIG.stat().st_mode & 0o777, CONFIG.group()) == (0o640, "proxyd")
    assert json.loads(Path("/etc/proxyd/config.schema.json").read_text())["properties"]["hosts"]
    assert ".SS proxyd status" in Path("/usr/local/share/man/man8/proxyd.8").read_text()
    completion = Path("/usr/local/share/bash-completion/completions/proxyd").read_text()
    assert "_PROXYD_COMPLETE=bash_complete" in completion


def test_systemd_finds_no_fault_and_little_exposure() -> None:
    assert (
        run("systemd-analyze", "verify", "--man=no", str(UNITS / "proxyd.service"), str(UNITS / "proxyd.socket")) == ""
    )
    run("systemd-analyze", "security", "--no-pager", "--threshold=18", "proxyd.service")


def test_it_starts_and_gets_a_certificate(pebble: Pebble, application: Upstream, client: HttpsClient) -> None:
    configure(pebble, application, HOST)
    dynamic = ("--property=DynamicUser=yes", "--property=StateDirectory=proxyd", "touch", str(CACHE / "from-before"))
    run("systemd-run", "--wait", "--quiet", *dynamic)  # as the unit was before
    assert CACHE.is_symlink()
    run("systemctl", "enable", "--now", "proxyd")
    assert not CACHE.is_symlink()
    assert (CACHE / "from-before").owner() == "proxyd"
    with socket.create_connection(("127.0.0.1", 443)), socket.create_connection(("::1", 443)):
        pass
    eventually(lambda: served(client), what=journal, seconds=60)
    eventually(lambda: shown("StatusText") == "1 host ok", what=lambda: shown("StatusText"))
    assert (CACHE / HOST).owner() == "proxyd"
    assert CACHE.stat().st_mode & 0o777 == 0o700
    assert int(shown("NFileDescriptorStore")) == 8  # two families, two ports, two workers


def test_who_fails_is_named_in_the_status(pebble: Pebble, application: Upstream) -> None:
    pebble.set_dns("add-a", host="lost.example.test", addresses=["127.0.0.2"])
    configure(pebble, application, HOST, "lost.example.test", listen={"https": "127.0.0.1:443", "http": "127.0.0.1:80"})
    run("systemctl", "restart", "proxyd")
    expected = re.compile(r"1 host ok, 1 failing: lost\.example\.test: .+")
    eventually(lambda: expected.fullmatch(shown("StatusText")), what=lambda: shown("StatusText"), seconds=60)
    pebble.set_dns("clear-a", host="lost.example.test")
    configure(pebble, application, HOST)
    run("systemctl", "restart", "proxyd")


def reload(*, status: int = 0) -> str:
    """By the unit; while the program has no such command, by HUP."""
    if "No such command" in subprocess.run(["proxyd", "reload", "--help"], capture_output=True, text=True).stderr:
        return run("systemctl", "kill", "--signal=HUP", "--kill-who=main", "proxyd")
    return run("systemctl", "reload", "proxyd", status=status)


def test_a_reload_serves_another_host(pebble: Pebble, application: Upstream, client: HttpsClient) -> None:
    configure(pebble, application, HOST, OTHER)
    reload()
    eventually(lambda: served(client, OTHER), what=journal, seconds=60)
    pid = main_pid()
    CONFIG.write_text(CONFIG.read_text() + "nonsense: true\n")
    reload(status=1)
    eventually(lambda: "nonsense" in journal(), what=journal)
    assert served(client, OTHER)
    assert main_pid() == pid


def test_a_restart_loses_nobody(pebble: Pebble, application: Upstream, client: HttpsClient) -> None:
    configure(pebble, application, HOST, OTHER)
    with load(client):
        for _ in range(2):
            run("systemctl", "restart", "proxyd")
    assert pebble.orders() <= 4


def test_a_restart_with_the_socket_unit_loses_nobody(client: HttpsClient) -> None:
    run("systemctl", "stop", "proxyd")
    run("systemctl", "enable", "--now", "proxyd.socket")
    assert shown("ActiveState") == "inactive"
    with load(client):  # the first of them starts it
        eventually(lambda: shown("ActiveState") == "active", what=journal)
        run("systemctl", "restart", "proxyd")
    assert shown("NFileDescriptorStore") == "0"
    run("systemctl", "disable", "--now", "proxyd.socket", "proxyd.service")
    run("systemctl", "enable", "--now", "proxyd")
    assert served(client)


def test_a_frozen_worker_and_a_frozen_issuer_are_replaced(client: HttpsClient) -> None:
    pid, frozen = main_pid(), [one_of("worker"), one_of("issuer")]
    for one in frozen:
        os.kill(one, signal.SIGSTOP)
    eventually(lambda: not set(frozen) & children() and len(children()) == 3, what=journal, seconds=40)
    eventually(lambda: served(client), what=journal)
    assert main_pid() == pid


def test_a_frozen_supervisor_is_killed_by_the_watchdog(client: HttpsClient) -> None:
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text("[Service]\nWatchdogSec=4\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "proxyd")
    pid = main_pid()
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: main_pid() not in (0, pid), what=journal, seconds=40)
    eventually(lambda: served(client), what=journal)
    assert "watchdog" in run("journalctl", "-u", "proxyd", "--no-pager").lower()


def test_who_is_killed_again_and_again_comes_back_and_orders_nothing(pebble: Pebble, client: HttpsClient) -> None:
    orders = pebble.orders()
    for _ in range(6):
        pid = main_pid()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: main_pid() not in (0, pid), what=journal, seconds=40)  # type: ignore[misc]
    eventually(lambda: served(client), what=journal)
    assert pebble.orders() == orders


def test_wrong_input_is_said_once_and_not_tried_again(
    pebble: Pebble, application: Upstream, client: HttpsClient
) -> None:
    CONFIG.write_text("hosts: 5\n")
    run("systemctl", "restart", "proxyd", status=1)
    time.sleep(2.5)  # two restarts would have come by now
    assert (shown("ActiveState"), shown("NRestarts")) == ("failed", "0")
    assert "config.yaml:1" in journal()
    configure(pebble, application, HOST, OTHER)
    run("systemctl", "restart", "proxyd")
    assert served(client)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of a later version."""
    copy = tmp_path_factory.mktemp("newer") / "project"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("pebble", "tests"))
    for name in ("pyproject.toml", "proxyd/version.py"):
        file = copy / name
        file.write_text(
            file.read_text().replace('version = "0.', 'version = "9.').replace('version__ = "0.', 'version__ = "9.')
        )
    return copy


def needs_somebody() -> bool:
    return subprocess.run(["proxyd", "status"], capture_output=True, check=False).returncode == 1


def test_an_upgrade_loses_nobody_and_can_be_taken_back(
    newer: Path, pebble: Pebble, application: Upstream, client: HttpsClient
) -> None:
    pebble.set_dns("add-a", host="lost.example.test", addresses=["192.0.2.1"])
    configure(pebble, application, HOST, OTHER, "lost.example.test")
    reload()
    eventually(needs_somebody, what=journal, seconds=60)  # which no version can mend
    orders, before = pebble.orders(), (OPT / "current").readlink()
    with load(client):
        run("scripts/install", cwd=newer)
        assert (OPT / "current").readlink().name.startswith("9.")
        assert run("proxyd", "--version").startswith("proxyd 9.")
        assert json.loads(run("proxyd", "status", "--json"))["version"].startswith("9.")
        run("scripts/install", "--rollback")
        assert (OPT / "current").readlink() == before
        assert not json.loads(run("proxyd", "status", "--json"))["version"].startswith("9.")
    assert pebble.orders() == orders


def test_a_version_that_is_not_healthy_is_taken_back(newer: Path, client: HttpsClient) -> None:
    before = (OPT / "current").readlink()
    supervisor = newer / "proxyd" / "daemon" / "supervisor.py"
    good = supervisor.read_text()
    supervisor.write_text(good + '\n\nraise RuntimeError("a version that cannot be loaded")\n')
    assert "Nothing was changed" in run("scripts/install", cwd=newer, status=2)
    broken = good.replace(
        "        self._hear_signals()  #", '        raise RuntimeError("a version that does not start")  #'
    )
    assert broken != good
    supervisor.write_text(broken)
    said = run("scripts/install", cwd=newer, status=2)
    assert "a version that does not start" in said
    assert f"{before} is in use again, and serves" in said
    assert served(client)


def test_an_environment_whose_python_is_gone_is_made_anew(client: HttpsClient) -> None:
    current = OPT / "current"
    (current / "bin" / "python").unlink()
    (current / "bin" / "python").symlink_to("/usr/bin/python3.0")
    run("scripts/install")
    run("systemctl", "restart", "proxyd")
    assert served(client)


def test_it_is_removed_and_what_it_has_obtained_stays(client: HttpsClient) -> None:
    run("scripts/install", "--uninstall", "--dry-run")
    assert served(client)
    run("scripts/install", "--uninstall")
    assert not OPT.exists()
    assert not (UNITS / "proxyd.service").exists()
    assert not Path("/usr/local/bin/proxyd").is_symlink()
    assert (CACHE / HOST).exists()
    assert CONFIG.exists()
    run("scripts/install", "--uninstall", "--purge")
    assert not CACHE.exists()
    assert not CONFIG.parent.exists()
