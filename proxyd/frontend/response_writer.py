"""What goes out to an HTTP/1.1 client: gathered, then written at once."""

from http import HTTPStatus

from proxyd.core.request_head import RequestHead
from proxyd.frontend.client_socket import ClientSocket

_PHRASES = {one.value: one.phrase.encode() for one in HTTPStatus if one < 200}


class ResponseWriter(ClientSocket):
    """One half of a connection. `_framed`: the response under way, to `request`, goes out in chunks."""

    __slots__ = ("_framed", "_out", "request")

    request: RequestHead

    def __init__(self) -> None:
        super().__init__()
        self._framed = False
        self._out: list[bytes] = []

    def interim(self, status: int, lines: bytes) -> None:
        if self.request.version == 11 and self._transport is not None:
            self._out.append(b"HTTP/1.1 %d %b%b\r\n\r\n" % (status, _PHRASES.get(status, b""), lines))

    def write(self, data: bytes) -> None:
        if self._framed:
            self._out += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self._out.append(data)

    def flush(self) -> None:
        out = self._out
        if out:
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()
