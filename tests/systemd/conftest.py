"""What the service talks to: one CA and one application for all of these tests."""

from collections.abc import Iterator

import pytest

from pebble.server import Pebble
from tests.support.daemon import HttpsClient
from tests.support.upstream import Upstream


@pytest.fixture(scope="session")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), http_port=80, tls_port=443) as one:
        yield one


@pytest.fixture(scope="session")
def application() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


@pytest.fixture
def client(pebble: Pebble) -> HttpsClient:
    return HttpsClient(443, pebble.root())
