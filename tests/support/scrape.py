"""What a running daemon tells machines on its admin port."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families

from tests.support.daemon import eventually

#: By the name of a sample and its labels' values, in the order of the labels' names.
Samples = Mapping[tuple[str, ...], float]


def fetch(port: int, path: str, *, host: str | None = None, accept: str = "") -> tuple[int, str]:
    """Return the status and the text of a page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}", "Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def scrape(port: int) -> Samples:
    """Return all samples, each in the classic form."""
    status, text = fetch(port, "/metrics")
    assert status == 200, text
    found = (one for family in text_string_to_metric_families(text) for one in family.samples)
    return {(one.name, *(value for _, value in sorted(one.labels.items()))): one.value for one in found}


def risen(before: Samples, after: Samples, name: str) -> dict[tuple[str, ...], float]:
    """Return by how much each sample of a name rose, without those that did not."""
    changes = {key[1:]: value - before.get(key, 0) for key, value in after.items() if key[0] == name}
    return {key: value for key, value in changes.items() if value}


@contextmanager
def rising(port: int, name: str, **expected: float) -> Iterator[None]:
    """Wait after the block until exactly these samples, by their one label, rose by so much."""
    before = scrape(port)
    yield
    wanted = {(label,): value for label, value in expected.items()}
    eventually(
        lambda: risen(before, scrape(port), name) == wanted,
        what=lambda: f"{name}: {risen(before, scrape(port), name)}, not {wanted}",
    )
