"""Starts Pebble with the DNS server beside it, on free ports of 127.0.0.1, and stops both."""

import ipaddress
import json
import os
import secrets
import socket
import ssl
import subprocess
import time
import urllib.request
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_HERE = Path(__file__).parent
_BIN = _HERE / "bin"
_START_SECONDS = 20.0
_PROCESSES = 8  # of a test run, at most
_given: deque[int] = deque(maxlen=500)


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago.

    Below the range that the kernel takes for outgoing connections: those would race us for it. Each of the processes
    that pytest-xdist runs tests in has ports of its own: one takes what another's daemon leaves for a moment. None is
    returned twice in a row of many: who asked first may not listen there yet.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
    while True:
        port = secrets.choice(range(10_240 + process, 32_000, _PROCESSES))
        if port in _given:
            continue
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.append(port)
        return port


class Pebble:
    """One CA. It validates HTTP-01 at `http_port`; every name resolves to 127.0.0.1.

    `binding_keys`: kid to base64url key of the external accounts that it demands. `validation_seconds`: it
    looks after up to so many. Files and logs go to `directory`.
    Leaving the context stops the processes.
    """

    def __init__(
        self,
        directory: Path,
        *,
        http_port: int,
        tls_port: int = 0,
        lifetime: timedelta = timedelta(days=90),
        nonce_reject_percent: int = 0,
        port: int = 0,
        binding_keys: dict[str, str] | None = None,
        alternate_roots: int = 0,
        profiles: dict[str, timedelta] | None = None,
        validation_seconds: int = 0,
    ) -> None:
        self.directory = directory
        self.bundle = directory / "pebble-api-ca.pem"
        self.log = directory / "pebble.log"
        self._port = port or free_port()
        self._management = free_port()
        self._dns = free_port()
        self._dns_management = free_port()
        self._http_port = http_port
        self._tls_port = tls_port or free_port()
        self._lifetime = lifetime
        self._nonce_reject_percent = nonce_reject_percent
        self._binding_keys = binding_keys
        self._alternate_roots = alternate_roots
        self._profiles = profiles or {}
        self._validation_seconds = validation_seconds
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []

    @property
    def url(self) -> str:
        """Return the URL of the ACME directory."""
        return f"https://127.0.0.1:{self._port}/dir"

    @property
    def dns(self) -> str:
        """Return HOST:PORT of the DNS server that the CA asks."""
        return f"127.0.0.1:{self._dns}"

    def set_dns(self, command: str, **body: object) -> None:
        """Change what the DNS says: `set-default-ipv4`, `add-a`, `clear-a`, `add-caa`, … of pebble-challtestsrv."""
        url = f"http://127.0.0.1:{self._dns_management}/{command}"
        with urllib.request.urlopen(url, data=json.dumps(body).encode(), timeout=10):
            pass

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start both processes and wait until the CA answers. Raises RuntimeError with the log's end."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.bundle.exists():
            make_api_certificate(self.directory, self.bundle)
        command: list[str | Path] = [_BIN / "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
        command += ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-dnsserver", self.dns]
        command += ["-management", f"127.0.0.1:{self._dns_management}"]
        self._spawn("challtestsrv.log", command)
        _wait_for_port(self._dns)
        _wait_for_port(self._dns_management)
        config = self.directory / "pebble.json"
        config.write_text(json.dumps(self._config(), indent=2))
        slow = self._validation_seconds
        pace = {"PEBBLE_VA_SLEEPTIME": str(slow)} if slow else {"PEBBLE_VA_NOSLEEP": "1"}
        self._spawn(
            "pebble.log",
            [_BIN / "pebble", "-config", config, "-dnsserver", self.dns],
            **pace,
            PEBBLE_WFE_NONCEREJECT=str(self._nonce_reject_percent),
            PEBBLE_AUTHZREUSE="0",
            PEBBLE_ALTERNATE_ROOTS=str(self._alternate_roots),
        )
        _wait_for_port(self._port)
        _wait_for_port(self._management)

    def stop(self) -> None:
        """Stop what was started; harmless twice."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in self._logs:
            log.close()
        self._processes.clear()
        self._logs.clear()

    def root(self, number: int = 0) -> bytes:
        """Return the root that issued certificates chain to, PEM. Pebble makes a new one at each start."""
        context = ssl.create_default_context(cafile=str(self.bundle))
        with urllib.request.urlopen(
            f"https://127.0.0.1:{self._management}/roots/{number}", context=context, timeout=10
        ) as answer:
            return bytes(answer.read())

    def status_of(self, serial: str) -> tuple[str, int]:
        """Return what the CA says of a certificate, and the reason when it is revoked."""
        context = ssl.create_default_context(cafile=str(self.bundle))
        url = f"https://127.0.0.1:{self._management}/cert-status-by-serial/{serial}"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            document = json.load(answer)
        return str(document["Status"]), int(document.get("Reason") or 0)

    def orders(self) -> int:
        """Return how many orders were placed, by Pebble's log."""
        return self.log.read_text(errors="replace").count("POST /order-plz")

    def _config(self) -> dict[str, object]:
        """Return pebble.json with this CA's ports, files and lifetime."""
        config: dict[str, dict[str, Any]] = json.loads((_HERE / "pebble.json").read_text())
        config["pebble"] |= {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(self.directory / "pebble-api.pem"),
            "privateKey": str(self.directory / "pebble-api.key"),
            "httpPort": self._http_port,
            "tlsPort": self._tls_port,
        }
        config["pebble"]["profiles"]["default"]["validityPeriod"] = int(self._lifetime.total_seconds())
        for name, lifetime in self._profiles.items():
            validity = {"description": name, "validityPeriod": int(lifetime.total_seconds())}
            config["pebble"]["profiles"][name] = validity
        if self._binding_keys is not None:
            config["pebble"] |= {
                "externalAccountBindingRequired": True,
                "externalAccountMACKeys": self._binding_keys,
            }
        return dict(config)

    def _spawn(self, log: str, command: list[str | Path], **environment: str) -> None:
        file = (self.directory / log).open("ab")
        self._logs.append(file)
        self._processes.append(
            subprocess.Popen([str(one) for one in command], stdout=file, stderr=file, env={**os.environ, **environment})
        )


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing listens on port {port}: look at the logs beside pebble.json") from None
            time.sleep(0.02)


def make_api_certificate(directory: Path, bundle: Path) -> None:
    """Write the CA and the leaf for Pebble's own API (not the CA that it issues from)."""
    now = datetime.now(UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Pebble API root")])
    base = x509.CertificateBuilder().issuer_name(root_name).not_valid_before(now - timedelta(days=1))
    base = base.not_valid_after(now + timedelta(days=30))
    root = (
        base.subject_name(root_name)
        .serial_number(x509.random_serial_number())
        .public_key(root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .add_extension(key_usage(ca=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = (
        base.subject_name(x509.Name([]))
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .add_extension(key_usage(ca=False), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "pebble-api.pem").write_bytes(leaf.public_bytes(pem))
    (directory / "pebble-api.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    bundle.write_bytes(root.public_bytes(pem))


def key_usage(*, ca: bool) -> x509.KeyUsage:
    """Return what strict clients want to see (RFC 5280 §4.2.1.3): Python's are so from 3.13 on."""
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
