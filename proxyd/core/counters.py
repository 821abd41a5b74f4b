"""What one process counts: plain numbers, so that a request pays next to nothing; and the documents made of them.

Nothing here is known to a metrics system: several processes send their documents, and who shows them renders the sum.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

#: By their options in the file, those of `limits.http2` with its name in front; the last three are fixed.
Limit = Literal[
    "max_connections",
    "max_connections_per_ip",
    "max_header",
    "max_header_count",
    "max_uri",
    "max_body",
    "rate_limit",
    "basic_auth",
    "max_upstream_connections",
    "client_allow",
    "http2_streams",
    "http2_resets",
    "http2_glitches",
    "http2_header_block",
    "http2_header_list",
    "http2_control_frames",
    "header_timeout",
    "idle_timeout",
    "keepalive_timeout",
    "connect_timeout",
    "response_timeout",
    "tunnel_timeout",
    "proxy_header_timeout",
    "hello_timeout",
    "handshake_timeout",
]
#: How a TLS connection began. `refused_name`: not served here; `refused_client`: the client's certificate is missing or
#: wrong; `unavailable`: it has no certificate yet; `challenge`: a CA's validator was answered.
Handshake = Literal["ok", "failed", "timeout", "refused_name", "refused_client", "unavailable", "challenge"]
#: Why an upstream gave no answer, or none to the end. `local`: this machine lacked something.
ErrorKind = Literal["connect", "connect_timeout", "local", "closed", "malformed", "timeout"]
Place = Literal["https", "http"]
#: What an open connection of a client does: until its first request may come it is `opening`.
Standing = Literal["opening", "idle", "request", "tunnel", "closing"]

#: Upper bounds in seconds. A proxy adds well under a millisecond, a long poll takes a minute.
DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
#: First digits of a status: an upstream may send any.
_CLASSES: Final = 10

#: JSON: numbers, lists of numbers, mappings of these. All of it can be added up.
Document = dict[str, Any]
_NONE: Final[Mapping[Standing, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """Requests under way at an upstream, and whether it gets none at present."""

    in_flight: int
    is_out: bool


class Counters:
    """Of one process, since it began. Whoever counts often keeps the list or mapping that it gets here."""

    __slots__ = (
        "_answers",
        "_errors",
        "_hosts",
        "accepted",
        "begun",
        "closed",
        "durations",
        "elsewhere",
        "handshakes",
        "lag_seconds",
        "lags",
        "limits",
        "received",
        "seconds",
        "sent",
        "tunnels_begun",
        "tunnels_ended",
    )

    def __init__(self) -> None:
        self._hosts: dict[str, list[int]] = {}
        self._errors: dict[str, dict[ErrorKind, int]] = {}
        self._answers: dict[str, list[float]] = {}
        self.elsewhere = self.host("")  # of requests that fit no host
        self.begun = 0
        self.durations = [0] * (len(DURATIONS) + 1)
        self.seconds = 0.0
        self.received = self.sent = 0  # bytes of bodies, and in tunnels
        self.tunnels_begun = self.tunnels_ended = 0
        self.limits: dict[Limit, int] = dict.fromkeys(get_args(Limit), 0)
        self.handshakes: dict[Handshake, int] = dict.fromkeys(get_args(Handshake), 0)
        self.accepted: dict[Place, int] = dict.fromkeys(get_args(Place), 0)
        self.closed: dict[Place, int] = dict.fromkeys(get_args(Place), 0)
        self.lags = [0] * (len(LAGS) + 1)
        self.lag_seconds = 0.0

    def host(self, name: str) -> list[int]:
        """Return the answers of a host, by the first digit of their status: to be counted up by who gives them."""
        return self._hosts.setdefault(name, [0] * _CLASSES)

    def upstream(self, name: str) -> dict[ErrorKind, int]:
        """Return the failures of an upstream: to be counted up by who meets them."""
        return self._errors.setdefault(name, dict.fromkeys(get_args(ErrorKind), 0))

    def answers(self, name: str) -> list[float]:
        """Return how many answers an upstream began, and the seconds that this took: to be counted up by who waits."""
        return self._answers.setdefault(name, [0, 0.0])

    def hit(self, limit: Limit | None) -> None:
        """Count that somebody met a limit; None: it was none."""
        if limit is not None:
            self.limits[limit] += 1

    def ended(self, host: list[int], status: int, seconds: float, sent: int) -> None:
        """Count a request that took so long and was answered with so many bytes, to the list of its `host`."""
        host[status // 100] += 1
        self.sent += sent
        if status == 101:  # how long a tunnel lives says nothing of how fast anything is
            self.tunnels_ended += 1
        else:
            self.durations[bisect_left(DURATIONS, seconds)] += 1
            self.seconds += seconds

    def lag(self, seconds: float) -> None:
        """Count by how much the event loop was late."""
        self.lags[bisect_left(LAGS, seconds)] += 1
        self.lag_seconds += seconds

    def document(self, upstreams: Mapping[str, UpstreamState], standing: Mapping[Standing, int] = _NONE) -> Document:
        """Return all of it, without hosts that saw no traffic and upstreams of which there is nothing to tell.

        `standing`: how many connections do what, those that are opening left out.
        """
        opening = sum(self.accepted.values()) - sum(self.closed.values()) - sum(standing.values())
        timed_out = sum(one["connect_timeout"] for one in self._errors.values())
        told = {name for name, errors in self._errors.items() if any(errors.values())}
        told.update(name for name, answers in self._answers.items() if answers[0])
        told.update(name for name, state in upstreams.items() if state.in_flight or state.is_out)
        return {
            "hosts": {name: [*counts] for name, counts in self._hosts.items() if any(counts)},
            "begun": self.begun,
            "durations": [*self.durations],
            "seconds": self.seconds,
            "received": self.received,
            "sent": self.sent,
            "tunnels_begun": self.tunnels_begun,
            "tunnels_ended": self.tunnels_ended,
            "limits": {**self.limits, "connect_timeout": timed_out},
            "handshakes": {**self.handshakes},
            "accepted": {**self.accepted},
            "closed": {**self.closed},
            "standing": {**dict.fromkeys(get_args(Standing), 0), **standing, "opening": max(0, opening)},
            "upstreams": {name: self._told(name, upstreams.get(name)) for name in told},
            "lags": [*self.lags],
            "lag_seconds": self.lag_seconds,
        }

    def _told(self, name: str, state: UpstreamState | None) -> Document:
        count, seconds = self._answers.get(name, (0, 0.0))
        errors = {kind: count for kind, count in self._errors.get(name, {}).items() if count}
        told: Document = {"errors": errors, "answers": count, "seconds": seconds}
        if state is not None:
            told |= {"in_flight": state.in_flight, "out": int(state.is_out)}
        return {key: value for key, value in told.items() if value}


def summed(documents: Iterable[Document]) -> Document:
    """Return what several processes counted together; of none: what one counted that began just now."""
    total: Document = Counters().document({})
    for document in documents:
        total = _added(total, document)
    return total


def of_gone(document: Document) -> Document:
    """Return what is left of a process that ended: nothing of it is open or under way."""
    over = {"closed": document["accepted"], "tunnels_ended": document["tunnels_begun"]}
    begun = sum(document["durations"]) + document["tunnels_begun"]
    kept = ("errors", "answers", "seconds")
    upstreams = {name: {key: one[key] for key in kept if key in one} for name, one in document["upstreams"].items()}
    told = {name: one for name, one in upstreams.items() if one}
    return {**document, **over, "begun": begun, "upstreams": told, "standing": dict.fromkeys(document["standing"], 0)}


def _added(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        both = {key: _added(one[key], other[key]) for key in one.keys() & other.keys()}
        return {**one, **other, **both}
    if isinstance(one, list):
        return [left + right for left, right in zip(one, other, strict=True)]
    return one + other
