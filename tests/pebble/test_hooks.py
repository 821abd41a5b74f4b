"""New certificates of a real CA are handed over to real programs."""

import os
import ssl
import stat
import time
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from pebble.server import Pebble, free_port
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.scrape import scrape
from tests.support.upstream import Upstream

HOST, OTHER, CALM = "one.example.test", "two.example.test", "calm.example.test"


def program(directory: Path, name: str, script: str) -> str:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def serial_in(file: Path) -> int:
    return x509.load_pem_x509_certificates(file.read_bytes())[0].serial_number


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def test_a_new_certificate_is_exported_and_then_told_once_over_restarts(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    place, told = tmp_path / "tls", tmp_path / "told"
    script = f'cat "$PROXYD_KEY" "$PROXYD_CERTIFICATE" > /dev/null && echo "$PROXYD_HOST $PROXYD_SERIAL $1" >> {told}; '
    run = program(tmp_path, "renewed", f"env > {tmp_path}/env; {script}echo reloaded mail")
    hooks = {"on_renew": [run, "a b;c"], "export": {"dir": str(place), "group": str(os.getegid()), "mode": "0640"}}
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: {"upstream": upstream.port, **hooks}, CALM: upstream.port}, pebble=pebble)
        daemon.start(environment={"SECRET_TOKEN": "x"})
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST, CALM], daemon=daemon)
        eventually(lambda: lines(told), what=daemon.log)
        serial = x509.load_der_x509_certificate(client.leaf(HOST)).serial_number
        assert lines(told) == [f"{HOST} {serial:x} a b;c"]
        assert sorted(one.name for one in place.iterdir()) == [
            f"{HOST}.{kind}.pem" for kind in ("combined", "fullchain", "privkey")
        ]
        assert stat.S_IMODE((place / f"{HOST}.privkey.pem").stat().st_mode) == 0o640
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place / f"{HOST}.fullchain.pem", place / f"{HOST}.privkey.pem")
        environment = dict(line.split("=", 1) for line in lines(tmp_path / "env"))
        assert environment["PROXYD_EXPORT_DIR"] == str(place)
        assert environment["PROXYD_CERTIFICATE"] == str(place / f"{HOST}.fullchain.pem")
        assert environment["PROXYD_NAMES"] == HOST
        assert "SECRET_TOKEN" not in environment
        eventually(lambda: "and said: reloaded mail" in command(daemon, "explain", HOST).out, what=daemon.log)
        assert "copies for other programs were written" in command(daemon, "explain", HOST).out
        assert 'said="reloaded mail"' in next(one for one in daemon.log().splitlines() if "on_renew ended well" in one)
        daemon.stop()
        daemon.start()
        assert command(daemon, "renew", HOST).status == 0
        eventually(lambda: len(lines(told)) > 1, what=daemon.log)
        assert serial_in(place / f"{HOST}.fullchain.pem") != serial
        daemon.stop()
        (place / f"{HOST}.fullchain.pem").unlink()
        daemon.start()
        eventually(lambda: len(lines(told)) > 2, what=daemon.log)  # once more: its file was gone
        assert len({line.split()[1] for line in lines(told)}) == 2
        assert "on_renew" not in command(daemon, "explain", CALM).out


def test_without_export_the_program_gets_the_file_of_the_cache(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    copy = tmp_path / "copy.pem"
    run = program(tmp_path, "renewed", f'cp "$PROXYD_CERTIFICATE" {copy}.new && mv {copy}.new {copy}')
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        options = {"aliases": [OTHER], "certificate": "shared", "upstream": upstream.port, "on_renew": [run]}
        daemon.configure({HOST: options}, pebble=pebble, workers=1)
        daemon.start()
        eventually(copy.exists, what=daemon.log)
        assert copy.read_bytes() == (daemon.cache / HOST).read_bytes()


def test_two_kinds_of_keys_are_two_exports(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    place, told, port = tmp_path / "tls", tmp_path / "told", free_port()
    run = program(tmp_path, "renewed", f'echo "$PROXYD_KEY_TYPE $PROXYD_COMBINED" >> {told}')
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        options = {
            "upstream": upstream.port,
            "acme": {"key_type": ["p256", "rsa2048"]},
            "export": {"dir": str(place)},
            "on_renew": [run],
        }
        daemon.configure({HOST: options}, pebble=pebble, admin={"listen": f"127.0.0.1:{port}"})
        daemon.start()
        eventually(lambda: len(lines(told)) == 2, what=daemon.log)
        files = {"p256": place / f"{HOST}.combined.pem", "rsa2048": place / f"{HOST}+rsa.combined.pem"}
        assert set(lines(told)) == {f"{kind} {file}" for kind, file in files.items()}
        assert serial_in(files["p256"]) != serial_in(files["rsa2048"])
        counted = {key[1:]: value for key, value in scrape(port).items() if key[0] == "proxyd_hooks_total"}
        assert counted == {("export", "ok"): 2, ("on_renew", "ok"): 2}


def test_hooks_that_fail_hang_or_lack_something_are_said_and_disturb_nothing(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    mended = tmp_path / "mended"
    failing = program(tmp_path, "failing", f"test -e {mended} || {{ echo no such service; exit 7; }}")
    hanging = program(tmp_path, "hanging", f"sleep 600 & echo $! $$ > {tmp_path}/pids; wait")
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        hosts: dict[str, object] = {
            HOST: {"upstream": upstream.port, "on_renew": [failing]},
            OTHER: {"upstream": upstream.port, "on_renew": {"run": [hanging], "timeout": "2s"}},
            "gone.example.test": {"upstream": upstream.port, "on_renew": ["/no/such/program"]},
            "closed.example.test": {"upstream": upstream.port, "export": {"dir": str(tmp_path / "no" / "tls")}},
            CALM: upstream.port,
        }
        daemon.configure(hosts, pebble=pebble)
        daemon.start()  # one that is not there refuses no file that is to be served
        HttpsClient(daemon.https_port, pebble.root()).wait_for(hosts, daemon=daemon)
        for reason in (
            "failing ended with status 7: no such service",
            "hanging had not ended after 2 s and was killed",
            "/no/such/program cannot be started",
            "make its parent directory first",
        ):
            daemon.wait_for(reason)
        pids = (tmp_path / "pids").read_text().split()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        assert command(daemon, "status").status == 1
        rows = command(daemon, "status", "--json").json["hosts"]
        assert {host for host, row in rows.items() if row["needs_a_person"]} == set(hosts) - {CALM}
        assert {row["state"] for row in rows.values()} == {"ready"}
        assert "no such service" in command(daemon, "explain", HOST).out
        checked = command(daemon, "check")
        assert checked.status == 2
        assert "there is no /no/such/program" in checked.err
        mended.touch()
        del hosts["gone.example.test"]
        daemon.configure(hosts, pebble=pebble)
        daemon.reload()
        eventually(lambda: not rows_of(daemon)[HOST]["needs_a_person"], what=daemon.log)
        hung = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - hung < 20


def rows_of(daemon: DaemonProcess) -> dict[str, dict[str, object]]:
    rows: dict[str, dict[str, object]] = command(daemon, "status", "--json").json["hosts"]
    return rows


def test_every_renewal_is_told_one_after_the_other(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    told = tmp_path / "told"
    run = program(tmp_path, "renewed", f"echo begin >> {told}; sleep 0.3; echo $PROXYD_SERIAL >> {told}")
    with Pebble(
        tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port, lifetime=timedelta(seconds=10)
    ) as pebble:
        daemon.configure({HOST: {"upstream": upstream.port, "on_renew": [run]}}, pebble=pebble)
        daemon.start()
        eventually(lambda: len(lines(told)) >= 6, what=daemon.log, seconds=60)
        daemon.stop()
    seen = lines(told)[:6]
    assert seen[::2] == ["begin"] * 3
    assert len(set(seen[1::2])) == 3
