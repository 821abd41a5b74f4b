"""Upgrades of the service that test_service leaves behind, ways back from them, and its removal: in this order."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pebble.server import Pebble
from tests.support.daemon import ROOT, HttpsClient, eventually
from tests.support.upstream import Upstream
from tests.systemd.service import (
    CACHE,
    CONFIG,
    HOST,
    OPT,
    OTHER,
    UNITS,
    configure,
    journal,
    load,
    main_pid,
    run,
    served,
)

pytestmark = pytest.mark.systemd


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


def version() -> str:
    """Return which one answers; `status` ends with 1 for the host that nobody can mend."""
    return str(json.loads(run("proxyd", "status", "--json", status=1))["version"])


def needs_somebody() -> bool:
    return subprocess.run(["proxyd", "status"], capture_output=True, check=False).returncode == 1


def test_an_upgrade_loses_nobody_and_can_be_taken_back(
    newer: Path, pebble: Pebble, application: Upstream, client: HttpsClient
) -> None:
    pebble.set_dns("add-a", host="lost.example.test", addresses=["192.0.2.1"])
    configure(pebble, application, HOST, OTHER, "lost.example.test")
    run("systemctl", "reload", "proxyd")
    eventually(needs_somebody, what=journal, seconds=60)  # which no version can mend
    before, certificates = (OPT / "current").readlink(), [(CACHE / one).read_bytes() for one in (HOST, OTHER)]
    with load(client):
        run("scripts/install", cwd=newer)
        assert (OPT / "current").readlink().name.startswith("9.")
        assert run("proxyd", "--version").startswith("proxyd 9.")
        assert version().startswith("9.")
        run("scripts/install", "--rollback")
        assert (OPT / "current").readlink() == before
        assert not version().startswith("9.")
    assert [(CACHE / one).read_bytes() for one in (HOST, OTHER)] == certificates


def test_an_upgrade_that_was_cut_off_is_finished(newer: Path, client: HttpsClient, tmp_path: Path) -> None:
    before, after = (OPT / "current").readlink(), (OPT / "previous").readlink()
    killer = tmp_path / "systemctl"
    killer.write_text('#!/bin/bash\n[ "$1" = restart ] && kill -KILL $PPID || exec /usr/bin/systemctl "$@"\n')
    killer.chmod(0o755)
    pid = main_pid()
    run("env", f"PATH={tmp_path}:{os.environ['PATH']}", "scripts/install", cwd=newer, status=-signal.SIGKILL)
    assert ((OPT / "current").readlink(), main_pid()) == (after, pid)
    run("scripts/install", cwd=newer)
    assert main_pid() != pid
    assert version().startswith("9.")
    assert (OPT / "previous").readlink() == before
    assert served(client)
    run("scripts/install", "--rollback")


@contextmanager
def rewritten(file: Path, old: str, new: str) -> Iterator[None]:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    yield
    file.write_text(text)


def test_a_version_that_does_not_do_is_not_gone_back_to(client: HttpsClient) -> None:
    places = OPT / "current", OPT / "previous"
    before = [one.readlink() for one in places]
    package = next((places[1] / "lib").glob("python3*/site-packages/proxyd"))
    hearing = "        self._hear_signals()  #"
    with rewritten(package / "daemon" / "supervisor.py", hearing, '        raise RuntimeError("does not start")  #'):
        said = run("scripts/install", "--rollback", status=2)
    assert "does not start" in said
    assert f"{before[0]} is in use again, and serves" in said
    assert [one.readlink() for one in places] == before
    assert served(client)
    pid, written = main_pid(), CONFIG.read_text()
    CONFIG.write_text(f"{written}watch: false\n")
    meaning = '"reload when the file, or one that it includes, changes"'
    with rewritten(package / "config" / "model.py", meaning, f"{meaning}, today=[]"):  # as before there was such a key
        said = run("scripts/install", "--rollback", status=2)
    assert "watch" in said
    assert "Nothing was changed" in said
    assert ([one.readlink() for one in places], main_pid()) == (before, pid)
    CONFIG.write_text(written)


def test_a_version_that_is_not_healthy_is_taken_back(newer: Path, client: HttpsClient) -> None:
    before, earlier = (OPT / "current").readlink(), (OPT / "previous").readlink()
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
    assert (OPT / "previous").readlink() == earlier
    assert served(client)


def test_an_environment_whose_python_is_gone_is_made_anew(client: HttpsClient) -> None:
    python = OPT / "current" / "bin" / "python3"
    python.unlink()
    python.symlink_to("/usr/bin/python3.0")
    with pytest.raises(FileNotFoundError):
        run("proxyd", "--version")
    pid = main_pid()
    run("scripts/install")
    assert main_pid() != pid
    assert served(client)


def test_it_is_removed_and_what_it_has_obtained_stays(client: HttpsClient) -> None:
    written = CONFIG.read_text()
    CONFIG.write_text(f"{written}cache: /srv/proxyd\nlog: {{access: {{file: /var/log/proxyd/access.log}}}}\n")
    said = run("scripts/install", "--uninstall", "--purge", "--dry-run")
    assert "this stays, delete it yourself: /srv/proxyd (cache, with certificates and keys)\n" in said
    assert "nothing was done; without --dry-run: removed, with configuration" in said
    CONFIG.write_text(written)
    assert served(client)
    run("scripts/install", "--uninstall")
    assert not OPT.exists()
    assert not (UNITS / "proxyd.service").exists()
    assert not Path("/usr/local/bin/proxyd").is_symlink()
    assert (CACHE / HOST).exists()
    assert CONFIG.exists()
    assert "could not be asked" in run("scripts/install", "--uninstall", "--purge")
    assert not CACHE.exists()
    assert not CONFIG.parent.exists()
    assert not Path("/var/log/proxyd").exists()
    assert not [*UNITS.glob("proxyd*")]
