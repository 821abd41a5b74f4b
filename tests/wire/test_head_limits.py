"""Limits of a request's head are those of the file."""

from typing import Any

import pytest

from tests.support.wire import Wire, request


@pytest.fixture(scope="module")
def daemon_options() -> dict[str, Any]:
    return {"limits": {"max_header": "4KiB", "max_header_count": 10, "max_uri": 100}}


def test_a_head_over_them_is_refused_and_one_at_them_served(wire: Wire) -> None:
    wire.refuses(request(target=b"/" + b"x" * 100), 414)
    wire.upstream.reset()
    wire.refuses(request(b"X: " + b"y" * 4096), 431)
    wire.upstream.reset()
    wire.refuses(request(*(b"X-%d: y" % number for number in range(10))), 431)
    wire.upstream.reset()
    target = b"/" + b"x" * 99
    wire.serves(request(*(b"X-%d: y" % number for number in range(9)), target=target), target)
