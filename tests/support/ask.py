"""A small real application that says which names may have certificates."""

import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class AskServer:
    """Answers with the status that `answer` gives for a name; None: never. `asked` are the names in order.

    On a free port of 127.0.0.1, or on a unix socket.
    """

    def __init__(self, answer: Callable[[str], int | bytes | None], *, socket: Path | None = None) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.targets: list[str] = []
        self.released = threading.Event()
        ask = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                ask.serve(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        if socket is None:
            self._server: socketserver.TCPServer = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            self.url = f"http://127.0.0.1:{self._server.server_address[1]}/check"
        else:
            self._server = _UnixServer(str(socket), Handler)
            self.url = f"unix:{socket}:/check"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        name = parse_qs(urlsplit(request.path).query).get("domain", [""])[0]
        self.asked.append(name)
        self.targets.append(request.path)
        answer = 200 if request.path.startswith("/elsewhere") else self.answer(name)
        if answer is None:
            self.released.wait(30)
        if answer is None or isinstance(answer, bytes):
            request.wfile.write(answer or b"")
            request.close_connection = True
            return
        request.send_response(answer)
        if 300 <= answer < 400:
            request.send_header("Location", "/elsewhere")
        if answer != 204:
            request.send_header("Content-Length", "0")
        request.end_headers()

    def __enter__(self) -> "AskServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[object, tuple[str, int]]:  # type: ignore[override]  # a handler wants an address
        request, _ = super().get_request()
        return request, ("unix", 0)
