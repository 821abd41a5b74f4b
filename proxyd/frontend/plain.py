"""The sockets of port 80: HTTP/1.1 without TLS, behind the same strict scanner."""

import asyncio
import logging
import socket

from proxyd.frontend.arrival import ArrivalGate
from proxyd.frontend.arriving import Arriving
from proxyd.frontend.h1 import H1Frontend
from proxyd.frontend.seats import Seat, Seats
from proxyd.proxy.exchange import Downstream

_log = logging.getLogger("proxyd.plain")


class PlainFrontend:
    """Serves sockets of the http listeners. Make it in the event loop."""

    def __init__(self, *, gate: ArrivalGate, seats: Seats, h1: H1Frontend, arriving: Arriving) -> None:
        self._gate = gate
        self._seats = seats
        self._h1 = h1
        self._arriving = arriving

    def accepted(self, sock: socket.socket) -> None:
        """Take over a connection."""
        if seat := self._seats.take("http"):
            self._arriving.begin(self._connect(sock, seat))
        else:
            sock.close()

    async def _connect(self, sock: socket.socket, seat: Seat) -> None:
        is_served = False
        try:
            arrival = await self._gate.arrival(sock)
            if arrival is None or not seat.sit(arrival.client):
                return
            downstream = Downstream(client=arrival.client, names=frozenset(), proto=b"http")
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._h1.connection(downstream, left=seat.leave), sock
            )
            is_served = True
        except Exception as error:  # noqa: BLE001 - the root of this task: an error that left it would end the daemon
            _log.debug("a connection could not be served", extra={"reason": str(error)})
        finally:
            if not is_served:
                sock.close()
                seat.leave()
