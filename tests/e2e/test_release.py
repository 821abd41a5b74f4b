"""What a release consists of: anybody who builds a commit gets the same bytes, wherever and whenever."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.daemon import ROOT

_WHO = {f"GIT_{role}_{what}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
_WHEN = {f"GIT_{role}_DATE": "2026-11-24T12:00:00Z" for role in ("AUTHOR", "COMMITTER")}


def run(*command: str, cwd: Path, **environment: str) -> str:
    known = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GIT_"))}
    done = subprocess.run(command, cwd=cwd, env={**known, **environment}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def digests(directory: Path) -> dict[str, str]:
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in directory.iterdir()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, and what was changed since: as a commit."""
    place = tmp_path_factory.mktemp("checkout") / "proxyd"
    for one in run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0"):
        if (ROOT / one).is_file() and not (ROOT / one).is_symlink():
            (place / one).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / one, place / one)
    run("git", "init", "--quiet", cwd=place)
    run("git", "add", "--all", cwd=place)
    run("git", "commit", "--quiet", "-m", "x", cwd=place, **_WHO, **_WHEN)
    return place


def test_two_builds_of_a_commit_are_the_same_bytes(checkout: Path, tmp_path: Path) -> None:
    run("scripts/release", "--build", str(tmp_path / "one"), cwd=checkout, PYTHON=sys.executable)
    other = tmp_path / "else" / "where"
    shutil.copytree(checkout, other, ignore=shutil.ignore_patterns(".git"))
    for number, one in enumerate(sorted(other.rglob("*"))):
        os.utime(one, (1_700_000_000 + number, 1_700_000_000 + number))
        one.chmod(one.stat().st_mode & 0o700)
    chosen = {"SOURCE_DATE_EPOCH": run("git", "log", "-1", "--format=%ct", cwd=checkout).strip()}
    chosen |= {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    run(sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path / "two"), cwd=other, **chosen)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(digests(tmp_path / "one")) == 2


def test_they_have_what_they_should_and_nothing_that_lies_about(checkout: Path, tmp_path: Path) -> None:
    (checkout / "proxyd" / "left_over.py").write_text("not committed")
    run("scripts/release", "--build", str(tmp_path), cwd=checkout, PYTHON=sys.executable)
    (wheel,), (source,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    names = {*zipfile.ZipFile(wheel).namelist()}
    meta = wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"
    assert {one.partition("/")[0] for one in names} == {"proxyd", meta}
    with tarfile.open(source) as packed:
        kept = {name.partition("/")[2] for name in packed.getnames()}
    assert {"LICENSE", "scripts/install", "systemd/proxyd.service", "requirements/runtime.lock"} <= kept
    modules = {str(one.relative_to(ROOT)) for one in (ROOT / "proxyd").rglob("*.py")}
    assert modules <= names
    assert modules <= kept
    assert not {"proxyd/left_over.py"} & (names | kept)


def test_an_sbom_says_licences_and_who_needs_whom(tmp_path: Path) -> None:
    locked = re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "requirements" / "runtime.lock").read_text(), re.MULTILINE)
    components = [{"bom-ref": f"ref {name}", "name": name, "version": version} for name, version in locked]
    file = tmp_path / "sbom.json"
    file.write_text(json.dumps({"components": components, "metadata": {"component": {"bom-ref": "ours"}}}))
    complete = "scripts/complete-sbom", str(file), str(ROOT / "pyproject.toml")
    run(sys.executable, *complete, cwd=ROOT)
    found = json.loads(file.read_text())
    assert all(one["licenses"] for one in found["components"])
    said = {one["name"]: one["licenses"][0] for one in found["components"]}
    assert said["cryptography"] == {"expression": "Apache-2.0 OR BSD-3-Clause", "acknowledgement": "declared"}
    needs = {one["ref"]: one.get("dependsOn", []) for one in found["dependencies"]}
    assert {"ref aiohttp", "ref pyyaml"} <= {*needs["ours"]}
    assert "ref josepy" in needs["ref acme"]
    reached = ["ours"]
    for one in reached:  # grows meanwhile
        reached += [other for other in needs[one] if other not in reached]
    assert {*reached} == {"ours", *(one["bom-ref"] for one in components)}, "nothing is locked that nobody needs"
    components[0]["version"] = "0.1"
    file.write_text(json.dumps({"components": components, "metadata": {"component": {"bom-ref": "ours"}}}))
    refused = subprocess.run([sys.executable, *complete], cwd=ROOT, capture_output=True, text=True)
    assert (refused.returncode, "is installed, not 0.1: run scripts/setup" in refused.stderr) == (1, True)
