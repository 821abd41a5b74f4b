"""The service from its installation to its end, on a machine of its own: each test goes on where the one before ended.

`tests/systemd/machine` boots the machine and runs this there; it is root's, and ports 80 and 443 are its own.
"""

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
import yaml

from pebble.server import Pebble
from tests.support.daemon import HttpsClient, eventually
from tests.support.documents import shell_lines, snippet
from tests.support.upstream import Upstream
from tests.systemd.service import (
    CACHE,
    CONFIG,
    DROP_IN,
    HOST,
    OPT,
    OTHER,
    UNITS,
    children,
    configure,
    journal,
    kinds,
    load,
    main_pid,
    one_of,
    run,
    served,
    shown,
)

pytestmark = pytest.mark.systemd


def test_a_dry_run_changes_nothing() -> None:
    said = run("scripts/install", "--dry-run")
    assert "would write: /etc/proxyd/config.yaml" in said
    assert not OPT.exists()
    assert not CONFIG.exists()


def test_what_was_made_by_hand_serves_on_when_ours_does_not() -> None:
    run("python3", "-m", "venv", "--without-pip", str(OPT))  # where the program was before there was a script
    unit = UNITS / "proxyd.service"
    by_hand = f"[Service]\nType=exec\nExecStart={OPT}/bin/python -c 'import time; time.sleep(9999)'\n"
    unit.write_text(by_hand)
    CONFIG.parent.mkdir()
    CONFIG.write_text("nonsense: true\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "proxyd")
    said = run("scripts/install", status=2)
    assert "config.yaml:1:1: nonsense" in said
    assert "Nothing was changed" in said
    CONFIG.write_text(yaml.safe_dump({"acme": {"server": "https://127.0.0.1:1/dir"}, "hosts": {HOST: 80}}))
    pid = main_pid()
    with socket.create_server(("0.0.0.0", 443)):
        said = run("scripts/install", status=2)
    assert "another program uses port 443" in said
    assert "by-hand is in use again" in said
    assert unit.read_text() == by_hand
    assert not (OPT / "bin").is_symlink()
    assert main_pid() not in (0, pid)
    run("systemctl", "stop", "proxyd")
    unit.unlink()
    CONFIG.unlink()


def test_it_is_installed_and_installing_again_changes_nothing() -> None:
    said = run("bash", "-c", "umask 077; exec scripts/install")
    assert (OPT / "by-hand" / "pyvenv.cfg").exists()
    assert "systemctl enable --now proxyd" in said
    release = (OPT / "current").readlink()
    unit = UNITS / "proxyd.socket"
    shipped = unit.read_text()
    unit.write_text(shipped.replace("ListenStream=[::]:443\n", ""))
    said = run("scripts/install")
    assert "is what is used already" in said
    assert "proxyd.socket was edited" in said
    assert (unit.read_text(), len((UNITS / "proxyd.socket.edited").read_text())) == (shipped, len(shipped) - 22)
    assert "edited" not in run("scripts/install")
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
    before = UNITS / "before.service"  # as the unit was; systemd-run would need the bus, which is not always there
    dynamic = "DynamicUser=yes\nStateDirectory=proxyd"
    before.write_text(f"[Service]\nType=oneshot\n{dynamic}\nExecStart=/usr/bin/touch {CACHE}/from-before\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "before")
    before.unlink()
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


def test_keys_stay_in_memory_and_who_serves_has_no_rights() -> None:
    assert (shown("LimitCORE"), shown("MemorySwapMax"), shown("NoNewPrivileges")) == ("0", "0", "yes")
    rights = {}
    for pid, kind in kinds().items():
        status = Path(f"/proc/{pid}/status").read_text()
        rights[kind] = re.findall("Cap(?:Eff|Prm|Amb):\t0*([0-9a-f]+)\n", status)
        assert Path(f"/proc/{pid}/fd").stat().st_uid == 0
    assert rights == {"worker": ["0"] * 3, "issuer": ["400"] * 3}  # CAP_NET_BIND_SERVICE


def test_who_fails_is_named_in_the_status(pebble: Pebble, application: Upstream) -> None:
    pebble.set_dns("add-a", host="lost.example.test", addresses=["127.0.0.2"])
    configure(pebble, application, HOST, "lost.example.test", listen={"https": "127.0.0.1:443", "http": "127.0.0.1:80"})
    run("systemctl", "restart", "proxyd")
    expected = re.compile(r"1 host ok, 1 failing: lost\.example\.test: .+")
    eventually(lambda: expected.fullmatch(shown("StatusText")), what=lambda: shown("StatusText"), seconds=60)
    pebble.set_dns("clear-a", host="lost.example.test")
    configure(pebble, application, HOST)
    run("systemctl", "restart", "proxyd")


def test_a_reload_serves_another_host(pebble: Pebble, application: Upstream, client: HttpsClient) -> None:
    configure(pebble, application, HOST, OTHER)
    run("systemctl", "reload", "proxyd")
    eventually(lambda: served(client, OTHER), what=journal, seconds=60)
    pid = main_pid()
    CONFIG.write_text(CONFIG.read_text() + "nonsense: true\n")
    mistake = re.compile(r"/etc/proxyd/config\.yaml:\d+:1: nonsense: unknown key")
    assert "systemctl status proxyd.service" in run("systemctl", "reload", "proxyd", status=1)
    eventually(lambda: mistake.search(journal()), what=journal)  # what ExecReload= says is for the journal
    assert mistake.search(run("systemctl", "status", "--no-pager", "--full", "proxyd"))
    assert mistake.search(run("proxyd", "reload", status=2))
    assert served(client, OTHER)
    assert main_pid() == pid


def test_a_restart_loses_nobody(pebble: Pebble, application: Upstream, client: HttpsClient) -> None:
    configure(pebble, application, HOST, OTHER)
    with load(client):
        for _ in range(2):
            run("systemctl", "restart", "proxyd")
    assert pebble.orders() <= 4


def test_a_restart_with_the_socket_unit_loses_nobody(client: HttpsClient) -> None:
    *before, start = shell_lines(snippet("install.md", "proxyd.socket\n").text.replace("sudo ", ""))
    run("bash", "-euc", "\n".join(before))
    assert shown("ActiveState") == "inactive"
    with load(client):  # the first of them starts it
        eventually(lambda: shown("ActiveState") == "active", what=journal)
        run("systemctl", "restart", "proxyd")
    run("bash", "-euc", start)
    assert shown("NFileDescriptorStore") == "0"
    run("systemctl", "disable", "--now", "proxyd.socket", "proxyd.service")
    drop_in = UNITS / "proxyd.socket.d" / "override.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(snippet("install.md", "ListenStream=").text)
    run("systemctl", "daemon-reload")
    listens = run("systemctl", "show", "proxyd.socket", "--property=Listen", "--value").split()
    assert listens == ["0.0.0.0:443", "(Stream)", "0.0.0.0:80", "(Stream)"]
    drop_in.unlink()
    run("systemctl", "daemon-reload")
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
