"""What a reload leaves as it was: everything when the file has mistakes, else what only a restart changes."""

from pathlib import Path

import pytest

from pebble.server import free_port
from tests.support.command import command
from tests.support.daemon import DaemonProcess
from tests.support.upstream import Upstream

HOST = "one.example.test"
NOWHERE = {"server": "https://127.0.0.1:1/dir"}
COMMANDS = [
    (["status", HOST], 1, HOST),
    (["explain", HOST], 1, f"One certificate for {HOST}"),
    (["renew", "--no-wait", HOST], 0, f"{HOST} (p256): ordering"),
    (["account"], 1, "127.0.0.1:1"),
    (["revoke", HOST, "--reason", "unspecified"], 2, f"{HOST} has no certificate"),
]


@pytest.mark.parametrize(
    ("typo", "says", "chosen"),
    [("lisen: 1\n", "lisen: unknown key: did you mean listen?", False), ("hosts: [\n", "YAML syntax: ", True)],
)
def test_the_commands_find_the_daemon(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, typo: str, says: str, chosen: bool
) -> None:
    admin = {"socket": str(tmp_path / "s")} if chosen else {}
    daemon.configure({HOST: upstream.port}, acme=NOWHERE, admin=admin)
    daemon.start()
    daemon.wait_for("control socket")
    daemon.file.write_text(daemon.file.read_text() + typo)
    daemon.reload()
    daemon.wait_for("reload refused, nothing changed")
    for arguments, status, answer in COMMANDS:
        done = command(daemon, *arguments)
        assert done.status == status, (arguments, done)
        assert answer in done.out + done.err
        assert says in done.err
    assert daemon.stop() == 0
    for arguments in (["status"], ["renew", HOST]):
        done = command(daemon, *arguments)
        assert (done.status, done.out) == (2, ""), arguments
        assert says in done.err
        assert done.err.count(says) == 1


def test_only_a_restart_changes_where_it_listens(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    daemon.configure({HOST: upstream.port}, acme=NOWHERE)
    daemon.start()
    daemon.wait_for("control socket")
    for cache, http in ((tmp_path / "other", free_port()), (daemon.cache, daemon.http_port)):
        daemon.forget_log()
        listen = {"https": f"127.0.0.1:{daemon.https_port}", "http": f"127.0.0.1:{http}"}
        daemon.configure({HOST: upstream.port}, acme=NOWHERE, cache=str(cache), listen=listen)
        daemon.reload()
        daemon.wait_for("reloaded")
        assert ("this change takes effect at the next restart" in daemon.log()) is (cache != daemon.cache)
    assert daemon.stop() == 0
