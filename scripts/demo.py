"""The demo behind scripts/demo: everything real, everything on 127.0.0.1, everything stopped at the end."""

import argparse
import http.client
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cryptography import x509  # noqa: E402

from pebble.server import Pebble, free_port  # noqa: E402

HOSTS = ("shop.demo.test", "blog.demo.test")
ISSUE_SECONDS = 60.0


class Page(BaseHTTPRequestHandler):
    """The application behind the proxy."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        text = f"Hello from the upstream: you asked for https://{self.headers['Host']}{self.path}\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Trusted HTTPS in one command.")
    parser.add_argument("--once", action="store_true", help="make one verified request, print it, and end")
    once = parser.parse_args().once
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started us with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="proxyd-demo-"))
    try:
        return run(directory, once=once)
    except KeyboardInterrupt:
        print("\ndemo: stopped; nothing of it is left running")
        return 0 if not once else 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(directory: Path, *, once: bool) -> int:
    https_port, http_port = free_port(), free_port()
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    say("starting Pebble, an ACME CA …")
    with Pebble(directory / "pebble", http_port=http_port, tls_port=https_port) as pebble:
        roots = directory / "roots.pem"
        roots.write_bytes(pebble.root())
        config = directory / "config.yaml"
        config.write_text(
            f"listen: {{https: '127.0.0.1:{https_port}', http: '127.0.0.1:{http_port}'}}\n"
            f"cache: {directory}/cache\n"
            f"acme: {{server: '{pebble.url}', ca_bundle: {pebble.bundle}}}\n"
            "hosts:\n" + "".join(f"  {host}: http://127.0.0.1:{upstream.server_port}\n" for host in HOSTS)
        )
        say(f"starting proxyd for {' and '.join(HOSTS)} …")
        log = directory / "proxyd.log"
        with log.open("wb") as output:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "proxyd", "run", "-c", config], cwd=ROOT, stdout=output, stderr=output
            )
        try:
            for host in HOSTS:
                leaf = wait_for_certificate(daemon, host, https_port, roots)
                describe(host, leaf)
            if once:
                return request_once(https_port, roots, directory / "cache")
            explain(https_port, roots)
            daemon.wait()
            say(f"proxyd ended by itself:\n{log.read_text(errors='replace')[-2000:]}")
            return 1
        except DemoError as error:
            say(f"failed: {error}\n--- the end of proxyd's log ---\n{log.read_text(errors='replace')[-3000:]}")
            return 1
        finally:
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
            upstream.shutdown()


class DemoError(Exception):
    """What went wrong, for the person at the terminal."""


def wait_for_certificate(daemon: "subprocess.Popen[bytes]", host: str, port: int, roots: Path) -> x509.Certificate:
    """Return the leaf that is served for `host` once a handshake with full verification succeeds."""
    deadline = time.monotonic() + ISSUE_SECONDS
    while True:
        if daemon.poll() is not None:
            raise DemoError(f"proxyd ended with status {daemon.returncode}")
        try:
            with connect(host, port, roots) as tls:
                return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
        except OSError as error:
            if time.monotonic() > deadline:
                raise DemoError(f"no certificate for {host} within {ISSUE_SECONDS:.0f} s ({error})") from None
            time.sleep(0.1)


def connect(host: str, port: int, roots: Path) -> ssl.SSLSocket:
    """Return a verified TLS connection: Pebble's root is the only trust anchor."""
    context = ssl.create_default_context(cafile=str(roots))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname=host)


def describe(host: str, leaf: x509.Certificate) -> None:
    issuer = str(leaf.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    covered = ", ".join(names.get_values_for_type(x509.DNSName))
    say(f"{host}: certificate for {covered}, issued by {issuer}, until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


def request_once(port: int, roots: Path, cache: Path) -> int:
    """Ask each host for its page over verified HTTPS and print what came."""
    for host in HOSTS:
        connection = http.client.HTTPSConnection(host, port, timeout=10)
        connection.sock = connect(host, port, roots)
        print(f"\n$ GET https://{host}:{port}/ ({connection.sock.version()}, verified against Pebble's root only)")
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read().decode()
        print(f"{answer.status} {answer.reason}")
        print(body, end="")
        connection.close()
        chain = x509.load_pem_x509_certificates((cache / host).read_bytes() + roots.read_bytes())
        for depth, one in enumerate(chain):
            kind = "leaf" if depth == 0 else "root (trust anchor)" if one is chain[-1] else "intermediate"
            subject = one.subject.rfc4514_string() or host
            print(
                f"  {kind}: {subject}, serial {one.serial_number:x}, until {one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            )
        if answer.status != 200 or f"https://{host}" not in body:
            raise DemoError(f"{host} answered {answer.status}: {body[:200]}")
    print()
    say("all verified")
    return 0


def explain(port: int, roots: Path) -> None:
    print("\nTry it (another terminal):\n")
    for host in HOSTS:
        print(f"  curl --cacert {roots} --resolve {host}:{port}:127.0.0.1 https://{host}:{port}/")
    print("\nCtrl-C stops everything.", flush=True)


def say(text: str) -> None:
    print(f"demo: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
