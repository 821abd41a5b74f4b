"""From values to what Prometheus reads."""

from datetime import UTC, datetime

import pytest
from prometheus_client import ProcessCollector
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

from proxyd.admin.metrics import Observation, render
from proxyd.core.counters import DURATIONS, Counters, UpstreamState, summed
from proxyd.core.hostname import Hostname
from proxyd.core.renewal import RenewalWindow
from proxyd.core.status import HostStatus

NOT_BEFORE = datetime(2026, 12, 1, tzinfo=UTC)
NOT_AFTER, RENEW_AT = datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
Samples = dict[tuple[str, ...], float]


def observation() -> Observation:
    counters = Counters()
    counters.begun += 4
    counters.ended(counters.host("a.example.com"), 200, 0.02, 100)
    counters.ended(counters.host("a.example.com"), 101, 60.0, 0)
    counters.tunnels_begun += 2
    counters.accepted["https"] += 3
    counters.closed["https"] += 1
    counters.hit("max_body")
    counters.upstream("http://one")["closed"] += 1
    counters.answers("http://one")[:] = [4, 0.5]
    states = {"http://one": UpstreamState(1, is_out=False), "http://two": UpstreamState(0, is_out=True)}
    row = HostStatus(
        host=Hostname("a.example.com"),
        state="ready",
        issuer="x",
        not_before=NOT_BEFORE,
        not_after=NOT_AFTER,
        renew_at=RENEW_AT,
        window=RenewalWindow(cert_id="", start=RENEW_AT, end=NOT_AFTER),
    )
    waits = HostStatus(
        host=Hostname("b.example.com"), state="waiting", issuer="x", next_try=RENEW_AT, needs_a_person=True
    )
    return Observation(
        build={"version": "1"},
        counted=summed([counters.document(states)]),
        upstreams=states,
        certificates={"a.example.com": row, "b.example.com": waits},
        on_demand={("*.b.example.com", "ready"): 2},
        orders={("letsencrypt", "rate_limited"): 1},
        orders_left={"letsencrypt": 299},
        troubles={"clock": False, "cache": True},
    )


@pytest.fixture(params=["", "text/html", "application/openmetrics-text; version=1.0.0; charset=utf-8, text/plain;q=.5"])
def samples(request: pytest.FixtureRequest) -> Samples:
    """Parse it as who asked for it does."""
    text, content_type = render(observation(), request.param, ProcessCollector(registry=None))
    is_open = "openmetrics" in request.param
    assert content_type.startswith("application/openmetrics-text" if is_open else "text/plain; version=0.0.4")
    families = [*(open_metrics if is_open else classic)(text.decode())]
    assert all(one.documentation for one in families)
    found = (one for family in families for one in family.samples)
    return {(one.name, *(value for _, value in sorted(one.labels.items()))): one.value for one in found}


def test_every_value_is_there(samples: Samples) -> None:
    for key, value in {
        ("proxyd_build_info", "1"): 1,
        ("proxyd_requests_total", "2xx", "a.example.com"): 1,
        ("proxyd_requests_total", "1xx", "a.example.com"): 1,
        ("proxyd_requests_in_flight",): 1,
        ("proxyd_tunnels_open",): 1,
        ("proxyd_upgrades_total",): 2,
        ("proxyd_response_bytes_total",): 100,
        ("proxyd_request_duration_seconds_bucket", "0.01"): 0,
        ("proxyd_request_duration_seconds_bucket", "0.025"): 1,
        ("proxyd_request_duration_seconds_bucket", "+Inf"): 1,
        ("proxyd_request_duration_seconds_sum",): 0.02,
        ("proxyd_connections_open", "https"): 2,
        ("proxyd_connections_total", "https"): 3,
        ("proxyd_connections_by_state", "opening"): 2,
        ("proxyd_connections_by_state", "idle"): 0,
        ("proxyd_limits_hit_total", "max_body"): 1,
        ("proxyd_limits_hit_total", "max_uri"): 0,
        ("proxyd_upstream_healthy", "http://one"): 1,
        ("proxyd_upstream_healthy", "http://two"): 0,
        ("proxyd_upstream_requests_in_flight", "http://one"): 1,
        ("proxyd_upstream_response_seconds_count", "http://one"): 4,
        ("proxyd_upstream_response_seconds_sum", "http://one"): 0.5,
        ("proxyd_upstream_errors_total", "closed", "http://one"): 1,
        ("proxyd_certificate_not_after_timestamp_seconds", "a.example.com"): NOT_AFTER.timestamp(),
        ("proxyd_certificate_not_before_timestamp_seconds", "a.example.com"): NOT_BEFORE.timestamp(),
        ("proxyd_certificate_renew_at_timestamp_seconds", "a.example.com"): RENEW_AT.timestamp(),
        ("proxyd_certificate_ari_window_start_timestamp_seconds", "a.example.com"): RENEW_AT.timestamp(),
        ("proxyd_certificate_ari_window_end_timestamp_seconds", "a.example.com"): NOT_AFTER.timestamp(),
        ("proxyd_certificate_next_try_timestamp_seconds", "b.example.com"): RENEW_AT.timestamp(),
        ("proxyd_certificate_needs_attention", "a.example.com"): 0,
        ("proxyd_certificate_needs_attention", "b.example.com"): 1,
        ("proxyd_certificate_state", "a.example.com", "ready"): 1,
        ("proxyd_certificate_failures", "a.example.com"): 0,
        ("proxyd_certificates_on_demand", "*.b.example.com", "ready"): 2,
        ("proxyd_acme_orders_total", "letsencrypt", "rate_limited"): 1,
        ("proxyd_acme_budget_remaining", "letsencrypt", "orders"): 299,
        ("proxyd_trouble", "clock"): 0,
        ("proxyd_trouble", "cache"): 1,
    }.items():
        assert samples[key] == value, key
    assert samples["process_resident_memory_bytes",] > 0
    assert len([key for key in samples if key[0] == "proxyd_request_duration_seconds_bucket"]) == len(DURATIONS) + 1
