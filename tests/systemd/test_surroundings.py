"""The service that test_service leaves behind among others: hooks, drop-ins, and whatever documents tell to type."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from pebble.server import Pebble
from tests.support.daemon import ROOT, HttpsClient, eventually
from tests.support.documents import service_commands, snippet
from tests.support.terminal import screen
from tests.support.upstream import Upstream
from tests.systemd import test_service
from tests.systemd.service import CACHE, HOST, OTHER, UNITS, configure, journal, run, served, shown

pytestmark = pytest.mark.systemd

MAIL = "mail.example.com"
TLS = Path("/etc/proxyd-tls")
HOOK = Path("/usr/local/bin/renewed")
#: They need what is not there at other times, and are run by these.
ELSEWHERE = {
    "systemctl enable --now proxyd.socket": "test_a_restart_with_the_socket_unit_loses_nobody",
    f"systemctl edit proxyd-renewed@{MAIL}.service": "test_what_needs_root_is_started_by_systemd",
    f"systemctl enable --now proxyd-renewed@{MAIL}.path": "test_what_needs_root_is_started_by_systemd",
}
#: Of a later systemd, which the documents say.
LATER = {"systemctl --verbose reload proxyd": 258}


@pytest.fixture
def editor(tmp_path: Path) -> Path:
    """Somebody who writes `text` into what `systemctl edit` opens; where, its first comment says."""
    (tmp_path / "text").write_text("[Unit]\n")
    program = tmp_path / "editor"
    last = 'for file in "$@"; do :; done'  # before it, some systemds say which line is looked at
    program.write_text(f'#!/bin/sh\n{last}\nexec sed -i "/^### Anything between here/r {tmp_path}/text" "$file"\n')
    program.chmod(0o755)
    return program


def at_terminal(commands: str, editor: Path) -> str:
    """Run commands as root at a terminal, in the checkout."""
    environment = {"SYSTEMD_EDITOR": str(editor), "SYSTEMD_PAGER": "cat"}
    status, said = screen(["bash", "-euc", commands], environment=environment)
    assert status == 0, f"{commands}: {status}\n{said}"
    return said


def units(**texts: str) -> None:
    for name, text in texts.items():
        (UNITS / name.replace("_", ".")).write_text(text)
    run("systemctl", "daemon-reload")


def hook_said() -> str:
    """Return the last thing that the hook said, as an entry of the journal has it."""
    told = run("journalctl", "-u", "proxyd", f"PROXYD_HOST={MAIL}", "PROXYD_EVENT=on_renew ended well", "-o", "json")
    lines = [line for line in told.splitlines() if line.startswith("{")]
    return str(json.loads(lines[-1])["PROXYD_SAID"]) if lines else ""


def test_a_hook_runs_in_the_sandbox_as_the_user_of_the_service(
    pebble: Pebble, application: Upstream, client: HttpsClient, editor: Path
) -> None:
    HOOK.write_text(
        '#!/bin/sh\ncat "$PROXYD_KEY" "$PROXYD_CERTIFICATE" > /dev/null || exit 1\n'
        "for place in /etc /usr/local/bin; do touch $place/hook 2> /dev/null && exit 2; done\n"
        'echo "$1: $(id -un) may read $(stat -c %U:%G:%a "$PROXYD_CERTIFICATE") of $PROXYD_HOST"\n'
    )
    HOOK.chmod(0o755)
    (editor.parent / "text").write_text(snippet("hooks.md", "SupplementaryGroups=").text)
    at_terminal(snippet("hooks.md", "groupadd").text, editor)
    (written,) = yaml.safe_load(snippet("hooks.md", "on_renew: [").text)["hosts"].values()
    options = {**written, "upstream": application.port, "export": {**written["export"], "group": TLS.name}}
    configure(pebble, application, HOST, OTHER)
    config = Path("/etc/proxyd/config.yaml")
    told = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**told, "hosts": {**told["hosts"], MAIL: options}}))
    run("systemctl", "restart", "proxyd")
    eventually(lambda: served(client, MAIL), what=journal, seconds=60)
    eventually(hook_said, what=journal)
    assert hook_said() == f"mail: proxyd may read proxyd:{TLS.name}:640 of {MAIL}"
    assert "and said: mail: proxyd may read" in run("proxyd", "explain", MAIL)
    assert {one.name for one in TLS.iterdir()} == {f"{MAIL}.{one}.pem" for one in ("privkey", "fullchain", "combined")}
    member = ("setpriv", "--reuid", "nobody", "--regid", TLS.name, "--clear-groups", "--")
    assert "BEGIN" in run(*member, "cat", str(TLS / f"{MAIL}.combined.pem"))
    run("proxyd", "status")


def test_what_needs_root_is_started_by_systemd(client: HttpsClient, editor: Path) -> None:
    reloaded = [Path(f"/run/{name}-reloaded") for name in ("postfix", "dovecot")]
    service = "[Service]\nExecStart=/usr/bin/sleep infinity\nExecReload=/usr/bin/touch {}\n"
    units(postfix_service=service.format(reloaded[0]), dovecot_service=service.format(reloaded[1]))
    run("systemctl", "start", "postfix", "dovecot")
    block = snippet("hooks.md", "systemd/proxyd-renewed@.*").text
    (told,) = re.findall(r"# \[Service\] (ExecStart=.+)", block)
    (editor.parent / "text").write_text(f"[Service]\n{told}\n")
    at_terminal(f"cd {ROOT}\n{block}", editor)
    before = (CACHE / MAIL).read_bytes()
    run("proxyd", "renew", MAIL)
    assert (CACHE / MAIL).read_bytes() != before
    eventually(lambda: all(one.exists() for one in reloaded), what=lambda: run("journalctl", "-n", "40", "--no-pager"))
    instance = f"proxyd-renewed@{MAIL}"
    said = run("journalctl", "-u", f"{instance}.service", "-o", "cat")
    assert f"{MAIL} has a new certificate" in said
    run("systemctl", "disable", "--now", f"{instance}.path")
    run("systemctl", "stop", "postfix", "dovecot")
    assert served(client, MAIL)


def test_every_command_for_systemd_in_the_documents_runs(client: HttpsClient, editor: Path) -> None:
    typed = service_commands()
    assert ELSEWHERE.keys() <= typed.keys()
    assert all(hasattr(test_service, name) or name in globals() for name in ELSEWHERE.values())
    units(
        certbot_service="[Service]\nExecStart=/usr/bin/true\n",
        certbot_timer="[Timer]\nOnBootSec=1d\n[Install]\nWantedBy=timers.target\n",
    )
    run("systemctl", "enable", "--now", "certbot.timer")
    version = int(run("systemctl", "--version").split()[1])
    for command, place in typed.items():
        if command in ELSEWHERE:
            continue
        if version < LATER.get(command, 0):
            assert "unrecognized option" in run(*command.split(), status=1)
            continue
        said = at_terminal(command.replace("example.com", HOST), editor)
        is_look = command.startswith(("journalctl", "systemctl status"))
        if is_look and command != "journalctl -k":  # the machine's kernel is another's
            assert "proxyd" in said, (place, command, said)
            assert "No entries" not in said, (place, command, said)
        run("systemctl", "start", "proxyd")
        eventually(lambda: served(client), what=journal)
    for name in ("certbot.service", "certbot.timer"):
        (UNITS / name).unlink()
    assert "OnBootSec" not in run("systemctl", "list-timers", "--all", "--no-pager")


def test_mistakes_are_told_by_what_the_documents_say_to_type_after_a_reload(client: HttpsClient) -> None:
    """systemd gives ExecReload= no terminal: `systemctl reload` itself can only say that it failed."""
    config = Path("/etc/proxyd/config.yaml")
    good = config.read_text()
    config.write_text(good + "nonsense: true\nlisen: 1\nlimits: {max_uri: soon}\n")
    line = next(one for one in service_commands() if one.startswith("systemctl reload proxyd ||"))
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert "Job for proxyd.service failed" in done.stderr
    mistakes = "nonsense: unknown key", "lisen: unknown key: did you mean listen?", "limits.max_uri: must be a size"
    last = ""

    def told() -> bool:
        nonlocal last
        last = run("systemctl", "status", "-l", "--no-pager", "proxyd")
        is_complete = all(re.search(rf"config\.yaml:\d+:\d+: {re.escape(one)}", last) for one in mistakes)
        return is_complete and 'Status: "the configuration file was refused' in last

    assert "proxyd.service" in done.stdout
    eventually(told, what=lambda: last, seconds=5)  # the journal takes its lines when it comes to them
    errors = run("journalctl", "-u", "proxyd", "-p", "err", "-n", "20")
    assert all(one in errors for one in mistakes)
    config.write_text(good)
    run("systemctl", "reload", "proxyd")
    eventually(lambda: shown("StatusText") == "3 hosts ok", what=lambda: shown("StatusText"))
    assert served(client)
