"""The real logrotate in each of its ways, while clients ask: no line is torn; none is lost but by its own copying."""

import json
import os
import pwd
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.cached import get, start_cached, status, tls
from tests.support.daemon import ROOT, DaemonProcess, eventually
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers
HOST = "one.example.test"
ROUNDS = 3


def rotate(directory: Path, rules: str, way: str) -> None:
    configuration = directory / "logrotate.conf"
    configuration.write_text(rules.replace("nocreate", way))
    configuration.chmod(0o644)
    user = pwd.getpwuid(os.geteuid()).pw_name
    configuration.write_text(configuration.read_text().replace("{\n", f"{{\n    su {user} {user}\n", 1))
    command = ["logrotate", "--force", "--state", str(directory / "state"), str(configuration)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way", ["nocreate", "create 0600", "copytruncate"])
def test_a_log_is_rotated(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path, way: str) -> None:
    directory = tmp_path / "logs"
    directory.mkdir(mode=0o700)
    file = directory / "access.log"
    start_cached(daemon, {HOST: upstream.port}, workers=2, log={"access": {"file": str(file)}})
    assert daemon.process is not None
    rules = (ROOT / "docs" / "logrotate.conf").read_text().replace("/var/log/proxyd", str(directory))
    tell = "systemctl kill --kill-whom=main --signal=USR1 proxyd.service"
    assert tell in rules
    rules = rules.replace(tell, f"kill -USR1 {daemon.process.pid}").replace("    compress\n    delaycompress\n", "")
    over, asked = threading.Event(), [0]

    def ask_again_and_again() -> None:
        while not over.is_set():
            assert status(tls(daemon.https_port, HOST, get(HOST, path=f"/{asked[0]}"))) == 200
            asked[0] += 1

    client = threading.Thread(target=ask_again_and_again)
    client.start()
    for _ in range(ROUNDS):
        eventually(lambda: file.exists() and file.stat().st_size > 1000, what=daemon.log)
        rotate(directory, rules, way)
    over.set()
    client.join()
    assert daemon.stop() == 0
    lines = [json.loads(line) for one in directory.glob("access.log*") for line in one.read_text().splitlines()]
    targets = [one["target"] for one in lines]
    assert len([*directory.glob("access.log*")]) == ROUNDS + 1
    assert len(targets) == len(set(targets))
    if way != "copytruncate":
        assert set(targets) == {f"/{number}" for number in range(asked[0])}
