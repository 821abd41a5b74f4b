"""Fixtures shared by all tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.daemon import DaemonProcess
from tests.support.upstream import Upstream

#: How long an example takes depends on what else the machine does: no verdict of ours. The same examples every time.
settings.register_profile("proxyd", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
#: To search by hand: --hypothesis-profile=search
settings.register_profile("search", settings.get_profile("proxyd"), derandomize=False, max_examples=5000)
settings.load_profile("proxyd")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[[], DaemonProcess]]:
    made: list[DaemonProcess] = []

    def make() -> DaemonProcess:
        directory = tmp_path / f"daemon{len(made)}"
        directory.mkdir()
        made.append(DaemonProcess(directory))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None:
            one.stop()


@pytest.fixture
def daemon(make_daemon: Callable[[], DaemonProcess]) -> DaemonProcess:
    return make_daemon()
