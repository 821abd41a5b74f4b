"""Other people's TLS clients: each makes one request, and says in the same words what came of it."""

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.cached import get
from tests.support.client_certificates import client_context
from tests.support.daemon import ROOT

SERVED = "served"
_GO = ROOT / "pebble/bin/tls-peer"
_SECONDS = 20.0
#: Alerts by their number (RFC 8446 §6).
_ALERTS = {
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    48: "unknown_ca",
    70: "protocol_version",
    80: "internal_error",
    112: "unrecognized_name",
    116: "certificate_required",
    120: "no_application_protocol",
}
#: What Go calls those that it calls otherwise.
_GO_WORDS = {
    "protocol version not supported": "protocol_version",
    "unknown certificate authority": "unknown_ca",
    "expired certificate": "certificate_expired",
    "revoked certificate": "certificate_revoked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A request. `name`: what is sent as server name, None: nothing; `first`: whose session is offered to it.

    `certificate`, `first_certificate`: the client's, a file with key and chain. `protocol`: what ALPN offers.
    """

    name: str | None
    host: str
    version: str
    certificate: Path | None = None
    first: str | None = None
    first_certificate: Path | None = None
    protocol: str = "http/1.1"


def _refused(alert: str) -> str:
    return f"refused: {alert}"


def _answered(status: int) -> str:
    return SERVED if status == 200 else str(status)


def openssl(port: int, asking: Asking, directory: Path) -> str:
    """Ask with `openssl s_client`."""
    session = directory / "session.pem"
    session.unlink(missing_ok=True)
    if asking.first is not None:
        done = _s_client(port, asking.first, asking.first, asking, asking.first_certificate, "-sess_out", str(session))
        assert session.exists(), done
    offered = ["-sess_in", str(session)] if session.exists() else []
    shown = _s_client(port, asking.name, asking.host, asking, asking.certificate, *offered)
    if found := re.search(r"SSL alert number (\d+)", shown):
        return _refused(_ALERTS[int(found[1])])
    found = re.search(r"HTTP/1\.1 (\d{3})", shown)
    assert found is not None, shown
    return _answered(int(found[1])) + (", resumed" if re.search(r"^Reused,", shown, re.M) else "")


def _s_client(port: int, name: str | None, host: str, asking: Asking, pair: Path | None, *more: str) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-tls{asking.version.replace('.', '_')}"]
    command += ["-servername", name] if name is not None else ["-noservername"]
    command += ["-alpn", asking.protocol, "-ign_eof", "-cipher", "DEFAULT@SECLEVEL=0", *more]
    if pair is not None:
        command += ["-cert", str(pair), "-key", str(pair), "-cert_chain", str(pair)]
    done = subprocess.run(command, input=get(host), capture_output=True, timeout=_SECONDS)
    return (done.stdout + done.stderr).decode(errors="replace")


def curl(port: int, asking: Asking, directory: Path) -> str:
    """Ask with curl; it takes its server name from the URL, and offers a session to nobody else."""
    name = asking.name or "127.0.0.1"
    where = f"{name}:{port}"
    command = ["curl", "-sS", "-k", "--resolve", f"{where}:127.0.0.1", f"--tlsv{asking.version}"]
    command += ["--tls-max", asking.version, "--ciphers", "DEFAULT@SECLEVEL=0", "--http1.1", "-o", "/dev/null"]
    command += ["-w", "%{http_code}", "-H", f"Host: {asking.host}", f"https://{where}/"]
    if asking.certificate is not None:
        command += ["--cert", str(asking.certificate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    if done.stdout != "000":
        return _answered(int(done.stdout))
    found = re.search(r"alert ([a-z ]+)|tlsv1 (unrecognized name)", done.stderr)
    assert found is not None, done.stderr
    return _refused((found[1] or found[2]).strip().replace(" ", "_"))


def go(port: int, asking: Asking, directory: Path) -> str:
    """Ask with Go's crypto/tls."""
    command: list[str] = [str(_GO), "-address", f"127.0.0.1:{port}", "-name", asking.name or "", "-host", asking.host]
    command += ["-version", asking.version, "-protocol", asking.protocol]
    for option, value in (
        ("certificate", asking.certificate),
        ("first", asking.first),
        ("first-certificate", asking.first_certificate),
    ):
        command += [f"-{option}", str(value)] if value is not None else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    if found["status"]:
        return _answered(found["status"]) + (", resumed" if found["resumed"] else "")
    assert found["alert"], found
    return _refused(_GO_WORDS.get(found["alert"], found["alert"].replace(" ", "_")))


def python(port: int, asking: Asking, directory: Path) -> str:
    """Ask with Python's ssl."""
    context = client_context(asking.version, asking.certificate)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.set_alpn_protocols([asking.protocol])
    session = None
    if asking.first is not None:
        assert asking.certificate == asking.first_certificate, "a session belongs to one context"
        _, _, session = _exchange(context, port, asking.first, asking.first, None)
    try:
        status, is_resumed, _ = _exchange(context, port, asking.name, asking.host, session)
    except ssl.SSLError as error:
        return _refused(re.sub(r"^(TLSV1|TLSV13|SSLV3)_(ALERT_)?", "", error.reason or str(error)).lower())
    return _answered(status) + (", resumed" if is_resumed else "")


def _exchange(
    context: ssl.SSLContext, port: int, name: str | None, host: str, session: ssl.SSLSession | None
) -> tuple[int, bool, ssl.SSLSession | None]:
    with (
        socket.create_connection(("127.0.0.1", port), _SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=name, session=session) as connection,
    ):
        connection.sendall(get(host))
        received = b""
        while data := connection.recv(65536):
            received += data
        return int(received.split(b" ", 2)[1]), bool(connection.session_reused), connection.session


CLIENTS: Mapping[str, Callable[[int, Asking, Path], str]] = {
    "openssl": openssl,
    "curl": curl,
    "Go": go,
    "Python": python,
}
