"""`proxyd run HOST=UPSTREAM`, and the commands that find this daemon without a file."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.command import Done
from tests.support.daemon import ROOT, eventually


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "RUNTIME_DIRECTORY"}
    return {**kept, "STATE_DIRECTORY": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def log(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """A daemon in a network of its own: nobody else has its ports there, and no CA of the world is reached."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    file = tmp_path / "log"
    run = [sys.executable, "-m", "proxyd", "run", "example.com=8080"]
    with file.open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "--net", *user, *run], cwd=tmp_path, env=environment, stdout=output, stderr=output
        )
    eventually(lambda: "control socket" in file.read_text(), what=file.read_text)
    yield file
    process.terminate()
    assert process.wait(20) == 0
    done = proxyd(tmp_path, environment, "status")
    assert done.status == 3
    assert "no daemon answers" in done.err
    assert "there is no configuration file either" in done.err


def proxyd(directory: Path, environment: Mapping[str, str], *arguments: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "proxyd", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


NO_FILE = "there is no configuration file, neither /etc/proxyd/config.yaml nor ./config.yaml: name yours with -c FILE"
COMMANDS = [
    (["status", "--json"], 1, '"from": "daemon"'),
    (["explain", "example.com"], 1, "One certificate for example.com"),
    (["renew", "--no-wait", "example.com"], 0, "example.com (p256): ordering"),
    (["account"], 1, "letsencrypt"),
    (["revoke", "example.com", "--reason", "unspecified"], 2, "example.com has no certificate"),
    *[(one, 2, NO_FILE) for one in (["plan"], ["check"], ["check", "--online"])],  # they are about a file
]


@pytest.mark.usefixtures("log")
def test_every_command_finds_the_daemon(tmp_path: Path, environment: Mapping[str, str]) -> None:
    for arguments, status, says in COMMANDS:
        done = proxyd(tmp_path, environment, *arguments)
        assert done.status == status, arguments
        assert says in done.out + done.err
        assert ":1:1" not in done.err
