"""One line a request."""

import logging

from proxyd.core.hostname import Hostname
from proxyd.proxy.exchange import Exchange

_log = logging.getLogger("proxyd.access")


def log_access(
    exchange: Exchange, *, host: Hostname | None, status: int, sent: int, seconds: float, request_id: str
) -> None:
    """Write what was asked and what was answered; the client's bytes are shown escaped by the formatter."""
    _log.info(
        "request",
        extra={
            "host": host,
            "client": exchange.downstream.client,
            "method": exchange.request.method,
            "target": exchange.request.target.decode("latin-1"),
            "status": status,
            "bytes": sent,
            "seconds": round(seconds, 4),
            "request_id": request_id,
        },
    )
