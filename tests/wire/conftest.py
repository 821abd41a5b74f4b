"""One daemon and one recording upstream for each module; each test begins with neither connections nor records."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.wire import Wire, running


@pytest.fixture(scope="module")
def host_options() -> dict[str, Any]:
    """Options of every host; a module may say others."""
    return {}


@pytest.fixture(scope="module")
def daemon_options() -> dict[str, Any]:
    """Options of the whole daemon; a module may say others."""
    return {}


@pytest.fixture(scope="module")
def wire_of_module(
    tmp_path_factory: pytest.TempPathFactory, host_options: dict[str, Any], daemon_options: dict[str, Any]
) -> Iterator[Wire]:
    with running(tmp_path_factory.mktemp("wire"), host_options, daemon_options) as one:
        yield one


@pytest.fixture
def wire(wire_of_module: Wire) -> Iterator[Wire]:
    wire_of_module.upstream.reset()
    yield wire_of_module
    assert not wire_of_module.upstream.failures
