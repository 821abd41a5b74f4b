"""`watch: true`: whichever way the file is changed, it is read again, once, when it is whole."""

import time
from collections.abc import Iterator

import pytest

from tests.support.cached import NO_CA, keep_certificates
from tests.support.command import command
from tests.support.daemon import DaemonProcess
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"


@pytest.fixture
def running(request: pytest.FixtureRequest, daemon: DaemonProcess, upstream: Upstream) -> Iterator[DaemonProcess]:
    """A daemon whose configuration is reached as that of a ConfigMap: file -> ..data -> a directory of this version."""
    keep_certificates(daemon, HOST, OTHER)
    daemon.configure({HOST: upstream.port}, acme=NO_CA, watch=True, workers=request.param, include=["conf.d/*.yaml"])
    version = daemon.directory / "..1"
    version.mkdir()
    daemon.file.rename(version / daemon.file.name)
    (daemon.directory / "..data").symlink_to("..1")
    daemon.file.symlink_to(f"..data/{daemon.file.name}")
    (daemon.directory / "conf.d").mkdir()
    daemon.start()
    daemon.wait_for("control socket")
    yield daemon
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def hosts(daemon: DaemonProcess) -> set[str]:
    return {*command(daemon, "status", "--json").json["hosts"]}


def reloaded(daemon: DaemonProcess) -> None:
    daemon.wait_for("reloaded")
    daemon.forget_log()


@pytest.mark.parametrize("running", [2], indirect=True)
def test_every_way_to_change_it(running: DaemonProcess, upstream: Upstream) -> None:
    good, directory = running.file.read_text(), running.directory
    both = good.replace("hosts:\n", f"hosts:\n  {OTHER}: {upstream.port}\n")
    running.forget_log()

    more = directory / "conf.d" / "more.yaml"  # one more
    more.write_text(f"hosts: {{{OTHER}: {upstream.port}}}\n")
    reloaded(running)
    assert hosts(running) == {HOST, OTHER}
    more.unlink()  # and gone again
    reloaded(running)
    assert hosts(running) == {HOST}

    version = directory / "..2"  # the link is turned, as by a ConfigMap
    version.mkdir()
    (version / running.file.name).write_text(both)
    (directory / "..next").symlink_to("..2")
    (directory / "..next").rename(directory / "..data")
    reloaded(running)
    assert hosts(running) == {HOST, OTHER}

    (directory / "new").write_text(good)  # renamed over, as by editors
    (directory / "new").rename(running.file)
    reloaded(running)
    assert hosts(running) == {HOST}

    running.file.unlink()  # written again
    time.sleep(1.5)
    running.file.write_text(both)
    reloaded(running)
    assert hosts(running) == {HOST, OTHER}

    with running.file.open("w") as file:  # slowly, in place
        for line in good.splitlines(keepends=True):
            file.write(line)
            file.flush()
            time.sleep(0.3)
    reloaded(running)
    assert hosts(running) == {HOST}
    time.sleep(3)
    assert running.log().count("reload") == 0, "each change once"


@pytest.mark.parametrize("running", [1], indirect=True)
def test_a_mistake_and_a_file_that_is_gone_are_said_once(running: DaemonProcess) -> None:
    good = running.file.read_text()
    running.file.write_text("hosts: [\n")
    running.wait_for("reload refused, nothing changed")
    time.sleep(3)
    assert running.log().count("reload refused") == 1
    running.forget_log()
    running.file.unlink()
    running.wait_for("there is no such file")
    time.sleep(3)
    assert running.log().count("reload refused") == 1
    assert hosts_of_log(running) == 1
    running.forget_log()
    running.file.write_text(good)
    reloaded(running)
    assert hosts(running) == {HOST}


def hosts_of_log(daemon: DaemonProcess) -> int:
    return daemon.log().count("the configuration was changed: it is read again")


@pytest.mark.parametrize("running", [1], indirect=True)
def test_it_can_be_turned_off(running: DaemonProcess) -> None:
    text = running.file.read_text()
    running.file.write_text(text.replace("watch: true", "watch: false"))
    reloaded(running)
    running.file.write_text(f"{text}lisen: 1\n")
    time.sleep(3)
    assert "reload" not in running.log()
    assert command(running, "reload").status == 2
