"""What was counted, in words."""

import pytest

from proxyd.admin.traffic_view import host_traffic, traffic_view, upstream_table
from proxyd.core.counters import Counters, Document, UpstreamState
from tests.support.html_reader import HtmlReader


def counted(*seconds: float, received: int = 0) -> Document:
    counters = Counters()
    counters.received = received
    for one in seconds:
        counters.begun += 1
        counters.ended(counters.host("a"), 200, one, 0)
    return counters.document({})


def test_nothing_was_counted() -> None:
    text = HtmlReader(traffic_view(counted())).text
    assert text.startswith("Requests answered 0 Under way now 0")
    assert host_traffic([0] * 10) == host_traffic(()) == '<p class="soft small">No request since the start.</p>'
    assert "There is none" in upstream_table(counted(), [])


def test_how_long_requests_take() -> None:
    text = HtmlReader(traffic_view(counted(0.003, 0.004, 0.2, 100.0))).text
    assert "Half of them within 5 ms" in text
    assert "99 of 100 within more than 60 s" in text


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (20 << 20, "20 MiB"), (1 << 62, "4096 PiB")]
)
def test_sizes(count: int, shown: str) -> None:
    assert f"Received, sent {shown}, 0 B" in HtmlReader(traffic_view(counted(received=count))).text


def test_of_many_upstreams_those_in_trouble_are_shown() -> None:
    counters = Counters()
    names = [f"http://{number:03}" for number in range(100)]
    counters.upstream("http://050")["closed"] += 1
    table = upstream_table(counters.document({"http://099": UpstreamState(0, is_out=True)}), names)
    text = HtmlReader(table).text
    assert text.index("http://099 left out") < text.index("http://050") < text.index("http://000")
    assert "and 80 more" in text
