"""`proxyd config`: what can be configured, and what is."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.command import command
from tests.support.daemon import ROOT, DaemonProcess
from tests.support.secrets import MARK


def test_what_a_file_means(daemon: DaemonProcess, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{MARK}\n")
    eab = {"kid": "K", "hmac_key": f"file:{tmp_path}/secret"}
    daemon.configure({"one.example.test": 8080}, acme={"server": "https://127.0.0.1:1/dir", "eab": eab})
    shown = command(daemon, "config", "show")
    as_json = command(daemon, "config", "show", "--json")
    assert (shown.status, as_json.status, shown.err) == (0, 0, "")
    assert yaml.safe_load(shown.out) == as_json.json
    host = as_json.json["hosts"]["one.example.test"]
    assert host["upstream"] == ["http://127.0.0.1:8080"]
    assert host["timeouts"]["response"] == "1m"
    assert host["acme"]["eab"] == {"kid": "K", "hmac_key": "(hidden)"}
    assert MARK not in shown.out + as_json.out
    (tmp_path / "secret").unlink()
    assert command(daemon, "config", "show").out == shown.out, "who may not read the secret sees the rest"


def test_a_wrong_file_is_told_and_not_shown(daemon: DaemonProcess) -> None:
    daemon.file.write_text(f"hosts: {{a.example.com: 80}}\nacme: {{eab: {{kid: a, hmac_key: [{MARK}]}}}}\n")
    done = command(daemon, "config", "show")
    assert (done.status, done.out) == (2, "")
    assert "config.yaml:2:32: acme.eab.hmac_key: must be a secret in quotes" in done.err
    assert MARK not in done.err


@pytest.mark.parametrize(("word", "name"), [("schema", "config.schema.json"), ("example", "config.example.yaml")])
def test_the_files_of_the_repository_are_printed(word: str, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxyd", "config", word], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, (ROOT / name).read_text())
