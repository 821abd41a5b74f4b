"""`proxyd status` at a terminal."""

import re

import pytest

from tests.support.cached import NO_CA, keep_certificates
from tests.support.command import command
from tests.support.daemon import DaemonProcess, eventually
from tests.support.terminal import at_terminal
from tests.support.upstream import Upstream

GOOD, BARE = "good.example.test", "bare.example.test"


@pytest.fixture
def running(daemon: DaemonProcess, upstream: Upstream) -> DaemonProcess:
    """One host has no certificate, and its CA does not answer."""
    keep_certificates(daemon, GOOD)
    wild = {"upstream": upstream.port, "acme": {"on_demand": {"max_new_per_day": 7}}}
    daemon.configure({BARE: upstream.port, GOOD: upstream.port, "*.wild.example.test": wild}, acme=NO_CA)
    daemon.start()
    eventually(lambda: command(daemon, "status", "--json").json["hosts"][BARE]["next_try"], what=daemon.log)
    return daemon


def test_what_needs_somebody_comes_last_and_is_told_in_full(running: DaemonProcess) -> None:
    reason = command(running, "status", "--json").json["hosts"][BARE]["last_error"]
    for columns in (80, 100):
        status, shown = at_terminal(running, "status", columns=columns, environment={"NO_COLOR": "1"})
        assert status == 1
        lines = shown.splitlines()
        assert lines[0].split() == ["HOST", "STATE", "EXPIRES", "RENEWS", "ISSUER"]
        names = [line.split()[0] for line in lines[1:] if line and line[0] != " "]
        assert names[:3] == ["*.wild.example.test", GOOD, BARE]
        assert lines[-1] == f"1 of 2 hosts needs you: proxyd explain {BARE}"
        assert "".join(reason.split()) in "".join(shown.split())
        assert "next try" in shown
        assert max(map(len, lines)) <= columns


def test_colours_are_for_terminals_that_want_them(running: DaemonProcess) -> None:
    coloured = at_terminal(running, "status")[1]
    assert re.search(r"\x1b\[32m(ready|manual)", coloured)
    assert "\x1b[31m" in coloured, "what needs somebody is red, whatever its state"
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for words in (("status",), ("explain", BARE)):
            assert "\x1b" not in at_terminal(running, *words, environment=environment)[1]
    assert "\x1b" not in command(running, "status").out


def test_when_all_is_well_it_says_so(running: DaemonProcess) -> None:
    status, shown = at_terminal(running, "status", GOOD, environment={"NO_COLOR": "1"})
    assert (status, shown.splitlines()[-1]) == (0, "1 host, all well.")
