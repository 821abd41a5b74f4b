"""The metrics of the daemon in the forms that Prometheus reads: rendered from values when somebody asks for them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, exposition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics

from proxyd.core.counters import DURATIONS, LAGS, Document
from proxyd.core.status import HostStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is shown. `counted`: the sum of all processes; `upstreams`: those of the configuration, by address.

    `certificates` by configured name; `on_demand`: how many names under a wildcard host are in which state; `orders`
    that ended, by CA and result; `orders_left` by CA; `troubles` of the whole machine; `alerts`: what became of them,
    by kind of channel and result; `handovers` by hook and result. `is_file_in_force`: no reload was refused since the
    last that was not, at `reloaded_at` (0: the configuration is that of the start).
    """

    build: Mapping[str, str]
    counted: Document
    upstreams: Iterable[str] = ()
    certificates: Mapping[str, HostStatus]
    on_demand: Mapping[tuple[str, str], int]
    orders: Mapping[tuple[str, str], int]
    orders_left: Mapping[str, int]
    troubles: Mapping[str, bool] = field(default_factory=dict)
    alerts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    handovers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    is_file_in_force: bool = True
    reloaded_at: float = 0.0


class Metrics:
    """Implements prometheus_client's Collector over one observation."""

    def __init__(self, observation: Observation) -> None:
        self._seen = observation

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield InfoMetricFamily("proxyd_build", "Version of proxyd and of what it runs on.", dict(self._seen.build))
        yield from _configuration(self._seen)
        yield from _requests(self._seen.counted)
        yield from _connections(self._seen.counted)
        yield from _upstreams(self._seen.counted["upstreams"], self._seen.upstreams)
        yield from _certificates(self._seen)
        yield from _authorities(self._seen)
        text = "Alerts by kind of channel: delivered; failed, an attempt that is repeated; dropped, given up."
        yield _counter("proxyd_alerts", text, self._seen.alerts, ("channel", "result"))
        text = "Certificates handed over to other programs, by hook (export, on_renew) and result (ok, failed)."
        yield _counter("proxyd_hooks", text, self._seen.handovers, ("hook", "result"))


def render(observation: Observation, accept: str, process: ProcessCollector) -> tuple[bytes, str]:
    """Return the text, OpenMetrics for who takes it, and its content type. Blocks: ten thousand hosts take a while."""
    registry = CollectorRegistry()
    registry.register(Metrics(observation))
    registry.register(process)
    if "application/openmetrics-text" in accept:
        return openmetrics.generate_latest(registry), openmetrics.CONTENT_TYPE_LATEST
    return exposition.generate_latest(registry), exposition.CONTENT_TYPE_PLAIN_0_0_4


def _configuration(seen: Observation) -> Iterator[Metric]:
    text = "1: the last reload was applied, or there was none; 0: it was refused, and what served before serves."
    yield GaugeMetricFamily("proxyd_config_last_reload_successful", text, int(seen.is_file_in_force))
    text = "When a reload was applied last; 0: none was since the start."
    yield GaugeMetricFamily("proxyd_config_last_reload_success_timestamp_seconds", text, seen.reloaded_at)


def _requests(counted: Document) -> Iterator[Metric]:
    by_class = {
        (host, f"{digit}xx"): count
        for host, counts in counted["hosts"].items()
        for digit, count in enumerate(counts)
        if count
    }
    text = 'Requests that were answered, by configured host ("": none fits) and class of the status.'
    yield _counter("proxyd_requests", text, by_class, ("host", "code_class"))
    text = "Seconds from a request's head to the end of its answer; without tunnels and what port 80 answers itself."
    yield _histogram("proxyd_request_duration_seconds", text, DURATIONS, counted["durations"], counted["seconds"])
    open_tunnels = counted["tunnels_begun"] - counted["tunnels_ended"]
    in_flight = counted["begun"] - sum(counted["durations"]) - counted["tunnels_begun"]
    yield GaugeMetricFamily("proxyd_requests_in_flight", "Requests under way.", max(0, in_flight))
    text = "Bytes of request bodies, and of tunnels towards upstreams."
    yield CounterMetricFamily("proxyd_request_bytes", text, counted["received"])
    text = "Bytes of response bodies, and of tunnels towards clients, counted when they end."
    yield CounterMetricFamily("proxyd_response_bytes", text, counted["sent"])
    text = "Connections that changed to another protocol (WebSocket)."
    yield CounterMetricFamily("proxyd_upgrades", text, counted["tunnels_begun"])
    yield GaugeMetricFamily("proxyd_tunnels_open", "Upgraded connections that are open.", open_tunnels)


def _connections(counted: Document) -> Iterator[Metric]:
    accepted, closed = counted["accepted"], counted["closed"]
    text = "Client connections that are open, by listener."
    still = {place: count - closed[place] for place, count in accepted.items()}
    yield _gauge("proxyd_connections_open", text, still, "listener")
    text = "Client connections of both listeners by what they do; opening: until its first request may come."
    yield _gauge("proxyd_connections_by_state", text, counted["standing"], "state")
    text = "Client connections that were accepted, by listener; those over max_connections are not."
    yield _counter("proxyd_connections", text, accepted, "listener")
    text = "TLS connections that clients began, by how that ended."
    yield _counter("proxyd_handshakes", text, counted["handshakes"], "result")
    text = "How often a limit or timeout was met, by its option."
    yield _counter("proxyd_limits_hit", text, counted["limits"], "limit")
    text = "Seconds by which the event loop was late, looked at once a second."
    yield _histogram("proxyd_event_loop_lag_seconds", text, LAGS, counted["lags"], counted["lag_seconds"])


def _upstreams(told: Document, configured: Iterable[str]) -> Iterator[Metric]:
    names = sorted(configured)
    healthy = {name: 0 if told.get(name, {}).get("out") else 1 for name in names}
    text = "1: it gets requests; 0: it is left out for failures or by its checks, or cannot be verified."
    yield _gauge("proxyd_upstream_healthy", text, healthy, "upstream")
    in_flight = {name: told.get(name, {}).get("in_flight", 0) for name in names}
    text = "Requests and tunnels under way at an upstream."
    yield _gauge("proxyd_upstream_requests_in_flight", text, in_flight, "upstream")
    text = "Seconds from a request's head to that of an upstream's answer, connecting included."
    latency = SummaryMetricFamily("proxyd_upstream_response_seconds", text, labels=("upstream",))
    for name, one in told.items():
        if "answers" in one:
            latency.add_metric((name,), count_value=one["answers"], sum_value=one["seconds"])
    yield latency
    text = "Connections and requests that failed at an upstream, by kind."
    errors = {(name, kind): count for name, one in told.items() for kind, count in one.get("errors", {}).items()}
    yield _counter("proxyd_upstream_errors", text, errors, ("upstream", "kind"))


def _certificates(seen: Observation) -> Iterator[Metric]:
    hosts = seen.certificates
    text = "When the certificate that serves a host ends."
    moments = {host: one.not_after.timestamp() for host, one in hosts.items() if one.not_after}
    yield _gauge("proxyd_certificate_not_after_timestamp_seconds", text, moments, "host")
    text = "When it began to be valid."
    moments = {host: one.not_before.timestamp() for host, one in hosts.items() if one.not_before}
    yield _gauge("proxyd_certificate_not_before_timestamp_seconds", text, moments, "host")
    text = "When a certificate is to be renewed; hosts that wait for a retry have none."
    moments = {host: one.renew_at.timestamp() for host, one in hosts.items() if one.renew_at}
    yield _gauge("proxyd_certificate_renew_at_timestamp_seconds", text, moments, "host")
    text = "When the window begins in which the CA wants a certificate renewed (ARI)."
    windows = {host: one.window for host, one in hosts.items() if one.window}
    moments = {host: one.start.timestamp() for host, one in windows.items()}
    yield _gauge("proxyd_certificate_ari_window_start_timestamp_seconds", text, moments, "host")
    text = "When that window ends."
    moments = {host: one.end.timestamp() for host, one in windows.items()}
    yield _gauge("proxyd_certificate_ari_window_end_timestamp_seconds", text, moments, "host")
    text = "When the next order is tried for a host that waits or is blocked."
    moments = {host: one.next_try.timestamp() for host, one in hosts.items() if one.next_try}
    yield _gauge("proxyd_certificate_next_try_timestamp_seconds", text, moments, "host")
    text = "1: a host needs a person, as `proxyd status` says by its exit status; 0: it does not."
    needs = {host: int(one.needs_a_person) for host, one in hosts.items()}
    yield _gauge("proxyd_certificate_needs_attention", text, needs, "host")
    text = "1 for the state that a host's certificate is in, as `proxyd status` tells it; others are left out."
    yield _gauge("proxyd_certificate_state", text, {(host, one.state): 1 for host, one in hosts.items()}, _STATE)
    text = "Orders for a host that failed since the last one that did not."
    failures = {host: one.failures for host, one in hosts.items()}
    yield _gauge("proxyd_certificate_failures", text, failures, "host")
    text = "Names under a wildcard host that ask for certificates on demand, by state."
    yield _gauge("proxyd_certificates_on_demand", text, seen.on_demand, _STATE)


def _authorities(seen: Observation) -> Iterator[Metric]:
    text = "Orders that ended since the start: issued, or why not."
    yield _counter("proxyd_acme_orders", text, seen.orders, ("issuer", "result"))
    text = "What a CA's limits still allow, of CAs whose limits are known."
    left = {(issuer, "orders"): count for issuer, count in seen.orders_left.items()}
    yield _gauge("proxyd_acme_budget_remaining", text, left, ("issuer", "limit"))
    text = "1: clock not believed, cache keeps nothing, access log or file of users unusable; `proxyd status` says why."
    yield _gauge("proxyd_trouble", text, {kind: int(one) for kind, one in seen.troubles.items()}, "kind")


_STATE = ("host", "state")


def _counter(name: str, text: str, values: Mapping[Any, float], labels: str | tuple[str, ...]) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=_tuple(labels)), values)


def _gauge(name: str, text: str, values: Mapping[Any, float], labels: str | tuple[str, ...]) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=_tuple(labels)), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Any, float]) -> Metric:
    for key, value in values.items():
        family.add_metric(_tuple(key), value)
    return family


def _tuple(one: str | tuple[str, ...]) -> tuple[str, ...]:
    return (one,) if isinstance(one, str) else one


def _histogram(name: str, text: str, bounds: tuple[float, ...], counts: list[int], total: float) -> Metric:
    edges = [*map(str, bounds), "+Inf"]
    return HistogramMetricFamily(name, text, buckets=[*zip(edges, accumulate(counts), strict=True)], sum_value=total)
