"""A daemon before a recording upstream; each test begins with neither connections nor records.

Modules that want no options of their own share it: starting one takes longer than all their tests.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.wire import LINGERING, Wire, running


@pytest.fixture(scope="module")
def host_options() -> dict[str, Any]:
    """Options of every host; a module may say others."""
    return {}


@pytest.fixture(scope="module")
def daemon_options() -> dict[str, Any]:
    """Options of the whole daemon; a module may say others."""
    return {}


@pytest.fixture(scope="session")
def wire_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with running(tmp_path_factory.mktemp("wire"), {}, {}) as one:
        yield one


@pytest.fixture(scope="module")
def wire_of_module(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    host_options: dict[str, Any],
    daemon_options: dict[str, Any],
) -> Iterator[Wire]:
    if host_options or daemon_options:
        with running(tmp_path_factory.mktemp("wire"), host_options, daemon_options) as one:
            yield one
        return
    shared: Wire = request.getfixturevalue("wire_of_all")
    yield shared
    shared.refused_have_ended(before=time.monotonic() - LINGERING)


@pytest.fixture
def wire(wire_of_module: Wire) -> Iterator[Wire]:
    wire_of_module.upstream.reset()
    yield wire_of_module
    assert not wire_of_module.upstream.failures
