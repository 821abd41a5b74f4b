"""The way of a request: check, route, relay, log."""

import secrets
import time

from proxyd.core.hostname import Hostname
from proxyd.core.request_target import InvalidTarget, RequestTarget
from proxyd.proxy.access_log import log_access
from proxyd.proxy.error_response import send_error
from proxyd.proxy.exchange import Exchange
from proxyd.proxy.relay import Relay
from proxyd.proxy.snapshot import Snapshot
from proxyd.proxy.traffic import Traffic


class Handler:
    """Serves exchanges. `snapshot` may be replaced at any time; requests under way keep what they began with."""

    def __init__(self, traffic: Traffic) -> None:
        self.snapshot = Snapshot()
        self._traffic = traffic

    def handle(self, exchange: Exchange) -> None:
        """Begin to serve `exchange`; returns at once."""
        snapshot = self.snapshot
        request_id = secrets.token_hex(8)
        began = time.monotonic()
        host: Hostname | None = None

        def done(status: int, sent: int) -> None:
            if snapshot.access_log:
                seconds = time.monotonic() - began
                log_access(exchange, host=host, status=status, sent=sent, seconds=seconds, request_id=request_id)

        request = exchange.request
        try:
            target = RequestTarget.parse(request.method, request.target, request.fields)
        except InvalidTarget as error:
            send_error(exchange, error.status, request_id)
            done(error.status, 0)
            return
        host = target.host
        site = snapshot.sites.get(host)
        if site is None or not _covered(host, exchange.downstream.names):
            send_error(exchange, 421, request_id)
            done(421, 0)
            return
        self._traffic.note(host, began)
        Relay(exchange, site, host=target.authority, path=target.path, request_id=request_id, done=done).start()


def _covered(host: Hostname, names: frozenset[Hostname]) -> bool:
    """Return whether the connection's certificate is for `host` (RFC 9110 §7.4: else 421)."""
    return host in names or Hostname(f"*.{host.text.partition('.')[2]}") in names
