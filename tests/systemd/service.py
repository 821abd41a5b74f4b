"""The installed service, as root of its machine sees it."""

import os
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pebble.server import Pebble
from tests.support.daemon import ROOT, HttpsClient, eventually
from tests.support.upstream import Upstream

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
