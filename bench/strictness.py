"""Malformed messages through proxyd, nginx, HAProxy and Caddy: who passes them on.

    python -m bench.strictness [--print]

The corpus is that of the tests: requests that a strict reader refuses, and replies of an upstream that proxyd makes a
502 of, or cuts. Writes bench/STRICTNESS.md. Needs what bench.peers has installed.
"""

import argparse
import contextlib
import functools
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pebble.server import free_port
from tests.support.corpus import MALFORMED
from tests.support.daemon import accepts, eventually
from tests.support.nginx import nginx
from tests.support.raw_client import RawClient
from tests.support.replies import REPLIES
from tests.support.through import answered, passed
from tests.support.wire import HOST, Wire, running

_HERE = Path(__file__).resolve().parent
_HAPROXY = """\
global
  maxconn 100
defaults
  mode http
  timeout connect 3s
  timeout client 5s
  timeout server 5s
frontend front
  bind 127.0.0.1:{port} ssl crt {pem} alpn http/1.1
  default_backend app
backend app
  server one 127.0.0.1:{upstream}
"""
_NOTE = """\
Why each of them is refused is in `tests/peers/test_differential.py`. A recipient may take or repair some of them (LF
for CRLF, folded lines): what one reader repairs another reads otherwise. The others have their defaults, but for nginx,
which is told to drop no field.
"""
_CADDY = """\
{{
  admin off
  auto_https off
  persist_config off
  storage file_system {directory}/storage
}}
https://{host}:{port} {{
  bind 127.0.0.1
  tls {pem} {pem}
  reverse_proxy 127.0.0.1:{upstream}
}}
"""


@contextlib.contextmanager
def _others(directory: Path, wire: Wire) -> Iterator[dict[str, int]]:
    """Run the others before the same upstream; give the port of each."""
    pem, ports = wire.daemon.cache / HOST, {name: free_port() for name in ("HAProxy", "Caddy")}
    words = {"pem": pem, "upstream": wire.upstream.port, "host": HOST, "directory": directory}
    with contextlib.ExitStack() as stack:
        at_nginx = stack.enter_context(nginx(directory, pem=pem, upstream=wire.upstream.port))
        for name, text, command in (
            ("HAProxy", _HAPROXY, ["/usr/sbin/haproxy", "-db", "-f"]),
            ("Caddy", _CADDY, [str(_HERE / "bin/caddy"), "run", "--adapter", "caddyfile", "--config"]),
        ):
            file = directory / f"{name}.conf"
            file.write_text(text.format(port=ports[name], **words))
            process = subprocess.Popen([*command, str(file)], stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            eventually(functools.partial(accepts, ports[name]))
        yield {"proxyd": wire.daemon.https_port, "nginx": at_nginx, **ports}


def _requests(wire: Wire, port: int) -> list[str]:
    """Return the malformed requests of which something reaches the upstream."""
    found = []
    for name, sent in MALFORMED.items():
        wire.upstream.reset()
        with RawClient(port, wire.context, HOST) as client:
            if passed(wire.upstream, client, sent)[1]:
                found.append(name)
    return found


def _replies(wire: Wire, port: int) -> list[str]:
    """Return the replies that a client has as whole ones, or as something that it cannot read."""
    found = []
    for name, reply in REPLIES.items():
        wire.upstream.reset()
        with RawClient(port, wire.context, HOST) as client:
            if answered(wire.upstream, client, reply).kind in ("whole", "unreadable"):
                found.append(name)
    return found


def _table(title: str, by_server: dict[str, list[str]], total: int) -> list[str]:
    lines = [f"## {title}", "", f"{total} in all.", "", "| | passed on |", "|---|---|"]
    lines += [f"| {name} | {len(found)} |" for name, found in by_server.items()]
    return [*lines, "", *(f"- {name}: {', '.join(found) or 'none'}" for name, found in by_server.items()), ""]


def main() -> None:
    """Run all and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="leave STRICTNESS.md alone")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        there, ours = Path(directory, "peers"), Path(directory, "wire")
        there.mkdir()
        ours.mkdir()
        with running(ours, {}, {}) as wire, _others(there, wire) as ports:
            requests = {name: _requests(wire, port) for name, port in ports.items()}
            replies = {name: _replies(wire, port) for name, port in ports.items()}
    bad = set(REPLIES) - set(replies["proxyd"])
    replies = {name: [one for one in found if one in bad] for name, found in replies.items()}
    today = datetime.now(UTC).date()
    lines = ["# Who passes on what is malformed", "", f"Written by `python -m bench.strictness`, {today}.", _NOTE]
    lines += _table("Requests of which the upstream sees something", requests, len(MALFORMED))
    title = "Replies that proxyd refuses or cuts, and that reach the client as whole ones or unreadable"
    lines += _table(title, replies, len(bad))
    text = "\n".join(lines)
    print(text)
    if not chosen.print:
        (_HERE / "STRICTNESS.md").write_text(text)


if __name__ == "__main__":
    main()
