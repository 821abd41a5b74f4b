"""How many connections there may be, of all and of one address: who is over the limit is refused, all others served."""

import contextlib
from typing import Any

import pytest

from tests.support.daemon import eventually
from tests.support.raw_client import RawClient
from tests.support.wire import Wire, request

_OF_ALL = 12
_OF_ONE = 5


@pytest.fixture(scope="module")
def daemon_options() -> dict[str, Any]:
    return {
        "limits": {
            "max_connections": _OF_ALL,
            "max_connections_per_ip": _OF_ONE,
        }
    }


def _is_served(client: RawClient) -> bool:
    client.send(request())
    return client.final().status == 200


def _is_refused(wire: Wire) -> bool:
    with contextlib.suppress(OSError), wire.client() as client:
        client.send(request())
        return client.some(seconds=2.0) == b""
    return True


def test_who_has_too_many_is_refused_until_one_ends(wire: Wire) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(wire.client()) for _ in range(_OF_ONE)]
        assert all(_is_served(client) for client in clients)
        assert all(_is_refused(wire) for _ in range(20))
        assert all(_is_served(client) for client in clients), "those that were there are not touched"
        clients[0].close()
        eventually(lambda: not _is_refused(wire), seconds=3.0)
    for _ in range(30):  # what was refused or ended counts no longer
        eventually(lambda: not _is_refused(wire), seconds=3.0)
