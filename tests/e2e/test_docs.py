"""What the documents tell people to type: run as it is written, with other paths, beside a real daemon."""

import base64
import json
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificate

from proxyd.cli.main import cli
from tests.support.cached import NO_CA, get, seen, start_cached, tls, tls_leaf
from tests.support.certs import make_pem
from tests.support.command import command
from tests.support.daemon import ROOT, DaemonProcess
from tests.support.documents import commands, commands_below, documents, examples, run, snippet
from tests.support.upstream import Upstream

HOST, ALIAS = "example.com", "www.example.com"
#: These only look, at the daemon and at its file. The others are in tests of their own.
LOOKS = ("status", "explain", "plan", "check", "config", "--version", "--help")
#: They ask the world, or tell it.
NOT_HERE = ("--online", "--staging", "--alerts")
#: They read no file.
ALONE = (("config", "example"), ("config", "schema"), ("--version",), ("--help",))


def pair(*, rsa: bool) -> tuple[bytes, bytes]:
    """Return a key as other programs write it (PKCS#8), and its certificate."""
    pem = make_pem(HOST, ALIAS, rsa_key=rsa)
    key = serialization.load_pem_private_key(pem, None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form), pem[pem.index(b"-----BEGIN CERTIFICATE") :]


def certbot(directory: Path, key: bytes, chain: bytes) -> Mapping[str, Path]:
    archive, live = directory / "archive" / HOST, directory / "live" / HOST
    for one in (archive, live):
        one.mkdir(parents=True)
    for name, content in (("privkey", key), ("fullchain", chain)):
        (archive / f"{name}1.pem").write_bytes(content)
        (live / f"{name}.pem").symlink_to(f"../../archive/{HOST}/{name}1.pem")
    return {"/etc/letsencrypt": directory}


def caddy(directory: Path, key: bytes, chain: bytes) -> Mapping[str, Path]:
    for host in (HOST, ALIAS):
        place = directory / "certificates" / "acme-v02.api.letsencrypt.org-directory" / host
        place.mkdir(parents=True)
        (place / f"{host}.key").write_bytes(key)
        (place / f"{host}.crt").write_bytes(chain)
    return {"/var/lib/caddy/.local/share/caddy": directory}


def traefik(directory: Path, key: bytes, chain: bytes) -> Mapping[str, Path]:
    one = {
        "domain": {"main": HOST, "sans": [ALIAS]},
        "certificate": base64.b64encode(chain).decode(),
        "key": base64.b64encode(key).decode(),
        "Store": "default",
    }
    wildcard = {**one, "domain": {"main": "*.example.com"}}
    acme = {"le": {"Account": {"Email": ""}, "Certificates": [one, wildcard]}, "unused": {"Certificates": None}}
    (directory / "acme.json").write_text(json.dumps(acme))
    return {"/etc/traefik": directory}


@pytest.mark.parametrize(
    ("source", "part", "rsa"),
    [(certbot, "/etc/letsencrypt", False), (caddy, "/var/lib/caddy", False), (traefik, "acme.json", True)],
)
def test_what_another_program_obtained_serves_at_once(
    tmp_path: Path,
    daemon: DaemonProcess,
    upstream: Upstream,
    source: Callable[[Path, bytes, bytes], Mapping[str, Path]],
    part: str,
    rsa: bool,
) -> None:
    key, chain = pair(rsa=rsa)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    daemon.cache.mkdir(mode=0o700)
    run(snippet("move.md", part), {**source(theirs, key, chain), "/var/lib/proxyd": daemon.cache})
    assert {one.name for one in daemon.cache.iterdir()} == {HOST, ALIAS}
    assert {stat.S_IMODE(one.stat().st_mode) for one in daemon.cache.iterdir()} == {0o600}
    daemon.configure({HOST: {"upstream": upstream.port, "aliases": [ALIAS]}}, acme=NO_CA)
    daemon.start()
    leaf = load_pem_x509_certificate(chain).public_bytes(serialization.Encoding.DER)
    for host in (HOST, ALIAS):
        assert tls_leaf(daemon.https_port, host) == leaf
    rows = command(daemon, "status", "--json").json["hosts"]
    assert {host: row["state"] for host, row in rows.items()} == {HOST: "ready", ALIAS: "ready"}


def test_the_translated_server_blocks_do_the_same(daemon: DaemonProcess, upstream: Upstream) -> None:
    written = snippet("move.md", "status: 301").text
    with Upstream() as static, Upstream() as api:
        for port, real in ((8080, upstream), (8081, static), (8082, api)):
            written = written.replace(f"127.0.0.1:{port}", f"127.0.0.1:{real.port}")
        start_cached(daemon, yaml.safe_load(written)["hosts"])
        for target, arrives in (("/static/a?b", "/static/a?b"), ("/api/a?b", "/a?b"), ("/other", "/other")):
            received = tls(daemon.https_port, HOST, get(HOST, path=target))
            assert json.loads(received.partition(b"\r\n\r\n")[2])["target"] == arrives
            assert seen(received)["host"] == HOST
        moved = tls(daemon.https_port, ALIAS, get(ALIAS, path="/a?b"))
        assert moved.startswith(b"HTTP/1.1 301 ")
        assert b"\r\nLocation: https://example.com/a?b\r\n" in moved
        large = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {10 * 2**20 + 1}\r\n\r\n".encode()
        assert tls(daemon.https_port, HOST, large).startswith(b"HTTP/1.1 413 ")


def test_every_command_that_only_looks_runs(daemon: DaemonProcess, upstream: Upstream) -> None:
    hosts = (HOST, ALIAS, "shop.example.com")
    start_cached(daemon, dict.fromkeys(hosts, upstream.port))
    typed = [*(one for file in documents() for one in commands(file))]
    typed += [one for each in commands_below(cli) for one in examples(each)]
    looks = sorted({_without_file(one) for one in typed if one[0] in LOOKS and not {*one} & {*NOT_HERE}})
    assert len(looks) > 10
    for one in looks:
        if one[:2] in ALONE:
            done = subprocess.run(
                [sys.executable, "-m", "proxyd", *one], cwd=ROOT, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, (one, done.stderr)
        else:
            found = command(daemon, *one)
            assert found.status == 0, (one, found.out, found.err)
            assert found.out, one


def _without_file(arguments: list[str]) -> tuple[str, ...]:
    """Return a command without `-c FILE`: it gets the daemon's."""
    return tuple(
        word for index, word in enumerate(arguments) if word != "-c" and (not index or arguments[index - 1] != "-c")
    )
