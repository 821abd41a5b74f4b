"""What is counted, and what documents of several processes say together."""

import json

from proxyd.core.counters import DURATIONS, Counters, UpstreamState, of_gone, summed


def test_a_request_is_counted_where_it_belongs() -> None:
    counters = Counters()
    host = counters.host("a.example.com")
    counters.begun += 3
    counters.ended(host, 200, 0.001, 10)
    counters.ended(host, 404, 0.0011, 5)
    counters.ended(counters.elsewhere, 421, 1000.0, 0)
    document = counters.document({})
    assert document["hosts"] == {"a.example.com": [0, 0, 1, 0, 1, 0, 0, 0, 0, 0], "": [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]}
    assert document["durations"] == [1, 1, *[0] * (len(DURATIONS) - 2), 1]  # a bound belongs to its own bucket
    assert (document["sent"], document["begun"]) == (15, 3)
    assert 1000 < document["seconds"] < 1000.01


def test_a_tunnel_has_no_duration() -> None:
    counters = Counters()
    counters.begun += 1
    counters.tunnels_begun += 1
    counters.ended(counters.host("a"), 101, 9999.0, 7)
    document = counters.document({})
    assert (sum(document["durations"]), document["seconds"], document["tunnels_ended"]) == (0, 0, 1)
    assert document["hosts"]["a"][1] == 1


def test_a_host_keeps_its_counts_when_it_is_asked_for_again() -> None:
    counters = Counters()
    counters.host("a")[2] += 1
    assert counters.host("a")[2] == 1


def test_connections_that_timed_out_are_a_limit() -> None:
    counters = Counters()
    counters.hit("max_uri")
    counters.hit(None)
    counters.upstream("http://one")["connect_timeout"] += 2
    limits = counters.document({})["limits"]
    assert {limit: count for limit, count in limits.items() if count} == {"max_uri": 1, "connect_timeout": 2}


def test_what_saw_no_traffic_is_left_out() -> None:
    counters = Counters()
    for number in range(50):
        counters.host(f"{number}.example.com")
        counters.upstream(f"http://{number}")
    states = {f"http://{number}": UpstreamState(0, is_out=False) for number in range(50)}
    document = counters.document(states)
    assert document["hosts"] == document["upstreams"] == {}
    for number in range(50):
        counters.host(f"{number}.example.com")[2] += 10**6
    assert len(json.dumps(counters.document(states))) < 5000


def test_documents_add_up_after_their_way_through_json() -> None:
    one, other = Counters(), Counters()
    one.ended(one.host("a"), 200, 0.5, 1)
    other.ended(other.host("a"), 200, 2.0, 2)
    other.ended(other.host("b"), 500, 0.5, 4)
    other.upstream("u")["closed"] += 1
    for each in (one, other):
        each.answers("u")[0] += 2
        each.answers("u")[1] += 0.5
    one.handshakes["ok"] += 1
    other.handshakes["ok"] += 2
    other.lag(0.02)
    states = {"u": UpstreamState(3, is_out=True)}
    documents = [json.loads(json.dumps(each.document(states))) for each in (one, other)]
    total = summed(documents)
    assert {host: counts[2] + counts[5] for host, counts in total["hosts"].items()} == {"a": 2, "b": 1}
    assert (total["seconds"], total["sent"], total["handshakes"]["ok"]) == (3.0, 7, 3)
    assert total["upstreams"] == {
        "u": {"errors": {"closed": 1}, "answers": 4, "seconds": 1.0, "in_flight": 6, "out": 2}
    }
    assert (sum(total["lags"]), total["lag_seconds"]) == (1, 0.02)
    assert summed([]) == Counters().document({})


def test_connections_are_told_by_what_they_do() -> None:
    counters = Counters()
    counters.accepted["https"] += 5
    counters.accepted["http"] += 1
    counters.closed["http"] += 1
    standing = counters.document({}, {"idle": 2, "tunnel": 1})["standing"]
    assert standing == {"opening": 2, "idle": 2, "request": 0, "tunnel": 1, "closing": 0}


def test_of_a_process_that_is_gone_nothing_is_open() -> None:
    counters = Counters()
    counters.accepted["https"] += 1
    counters.answers("u")[0] += 1
    counters.answers("u")[1] += 0.25
    left = of_gone(counters.document({"u": UpstreamState(1, is_out=True)}, {"idle": 1}))
    assert left["upstreams"] == {"u": {"answers": 1, "seconds": 0.25}}
    assert not any(left["standing"].values())
