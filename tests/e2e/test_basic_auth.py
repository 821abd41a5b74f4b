"""User name and password before a host: the daemon and raw sockets."""

import fcntl
import json
import subprocess
import sys
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA, get, plain, reload, seen, start_cached, status, tls
from tests.support.command import command
from tests.support.daemon import ROOT, DaemonProcess, eventually
from tests.support.processes import workers
from tests.support.scrape import fetch, scrape
from tests.support.secrets import MARK
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"
PASSWORD = f"{MARK}: it is right"
PROXY = "127.0.0.3"
FRONTS = pytest.mark.parametrize("more", [{"workers": 1}, {"workers": 1, "fast_path": False}, {"workers": 2}])


def line(name: str, password: str = PASSWORD, *, cost: int = 4) -> str:
    return f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()}\n"


def basic(name: str, password: str = PASSWORD) -> str:
    return f"Authorization: Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


def ask(daemon: DaemonProcess, *lines: str, host: str = HOST, source: str = "127.0.0.1") -> bytes:
    return tls(daemon.https_port, host, get(host, *lines), source=source)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.write_text("# who may come in\n" + line("alice"))
    file.chmod(0o640)
    return file


def options(upstream: Upstream, users: Path, **more: Any) -> dict[str, Any]:
    return {"upstream": upstream.port, "basic_auth": {"realm": 'Our "own"', "users": str(users)}, **more}


@FRONTS
def test_who_comes_in(daemon: DaemonProcess, upstream: Upstream, users: Path, more: dict[str, Any]) -> None:
    start_cached(daemon, {HOST: options(upstream, users), OTHER: upstream.port}, ready_path="/ready", **more)
    for wanted in (ask(daemon), ask(daemon, "Authorization: Bearer x"), ask(daemon, basic("alice"), basic("alice"))):
        assert status(wanted) == 401
        assert b'\r\nWWW-Authenticate: Basic realm="Our \\"own\\"", charset="UTF-8"\r\n' in wanted
        assert b"A user name and a password are needed.\nRequest ID: " in wanted
    for wrong in (basic("alice", f"{MARK} wrong"), basic("bob"), basic("", "")):
        assert status(ask(daemon, wrong)) == 401
    for _ in range(3):
        assert seen(ask(daemon, basic("alice")))["authorization"] == basic("alice").partition(": ")[2]
    assert status(ask(daemon, host=OTHER)) == 200
    assert status(tls(daemon.https_port, HOST, get(HOST, path="/ready"))) == 200
    head = ask(daemon, basic("alice")).partition(b"\r\n\r\n")[0]
    assert b"WWW-Authenticate" not in head
    assert "a wrong user name or password" in daemon.log()
    assert MARK not in daemon.log()
    assert "Traceback" not in daemon.log()


def test_bodies_and_pipelined_requests_wait_for_the_verification(
    daemon: DaemonProcess, upstream: Upstream, tmp_path: Path
) -> None:
    users = tmp_path / "slow"
    users.write_text(line("alice", cost=11))
    start_cached(daemon, {HOST: options(upstream, users)}, workers=1)
    large = b"x" * 300_000
    post = f"POST / HTTP/1.1\r\nHost: {HOST}\r\n{basic('alice')}\r\nContent-Length: {len(large)}\r\n\r\n".encode()
    received = tls(daemon.https_port, HOST, post + large + get(HOST, basic("alice")))
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert b'"size": 300000' in received
    wrong = post.replace(basic("alice").encode(), basic("alice", "no").encode())
    refused = tls(daemon.https_port, HOST, wrong.replace(b"300000", b"%d" % len(get(HOST))) + get(HOST))
    assert refused.startswith(b"HTTP/1.1 401 ")
    assert refused.count(b"HTTP/1.1") == 1, "the body of what was refused is no request"
    no_body = get(HOST, basic("alice", "no")).replace(b"Connection: close\r\n", b"")
    both = tls(daemon.https_port, HOST, no_body + get(HOST, basic("alice")))
    assert [part[:3] for part in both.split(b"HTTP/1.1 ")[1:]] == [b"401", b"200"]


def test_two_are_verified_at_once_in_all_processes(daemon: DaemonProcess, upstream: Upstream, users: Path) -> None:
    start_cached(daemon, {HOST: options(upstream, users), OTHER: upstream.port}, workers=3)
    eventually(lambda: len(workers(daemon)) == 3, what=daemon.log)
    files = [file for pid in workers(daemon) for file in Path(f"/proc/{pid}/fd").iterdir()]
    shared = next(file for file in files if "memfd:passwords" in str(file.readlink()))
    with shared.open("r+b") as file, ThreadPoolExecutor(6) as pool:
        fcntl.lockf(file, fcntl.LOCK_EX, 2, 0)  # both turns are taken
        waiting = [pool.submit(ask, daemon, basic("alice", f"{MARK} {number}")) for number in range(6)]
        time.sleep(1)  # nothing is to happen in it
        assert not any(one.done() for one in waiting)
        assert status(ask(daemon, host=OTHER)) == 200
        fcntl.lockf(file, fcntl.LOCK_UN, 2, 0)
        assert [status(one.result()) for one in waiting] == [401] * 6


@pytest.mark.parametrize("more", [{"workers": 1}, {"workers": 2}])
def test_wrong_passwords_are_few_and_who_is_known_is_not_locked_out(
    daemon: DaemonProcess, upstream: Upstream, users: Path, more: dict[str, Any]
) -> None:
    start_cached(daemon, {HOST: options(upstream, users)}, trusted_proxies=[PROXY], **more)

    def tried(password: str, client: str) -> bytes:
        return ask(daemon, basic("alice", password), f"X-Forwarded-For: {client}", source=PROXY)

    if more["workers"] > 1:
        eventually(lambda: len(workers(daemon)) == 2, what=daemon.log)
        for _ in range(30):  # each of them knows it
            assert status(tried(PASSWORD, "192.0.2.9")) == 200
    else:
        assert status(tried(PASSWORD, "192.0.2.9")) == 200
    began = time.monotonic()
    found = [status(tried(f"wrong {number}", "192.0.2.9")) for number in range(16)]
    back = int((time.monotonic() - began) / 6) + 1  # so many tries come back meanwhile
    assert found[:10] == [401] * 10
    assert 6 - back <= found.count(429) <= 6
    assert status(tried(PASSWORD, "192.0.2.9")) == 200, "who was right not long ago needs no look"
    limited = next(one for one in (tried(f"again {number}", "192.0.2.9") for number in range(60)) if status(one) == 429)
    assert 1 <= int(limited.partition(b"Retry-After: ")[2].split(b"\r\n")[0]) <= 7
    ours = (status(tried(f"wrong {number}", f"2001:db8::{number:x}")) for number in range(60))
    assert 429 in ours, "an IPv6 client is its /64"
    assert status(tried("wrong", "192.0.2.10")) == 401
    assert "a client tries too many wrong passwords" in daemon.log()


def test_the_file_is_read_again_and_a_broken_one_lets_nobody_new_in(
    daemon: DaemonProcess, upstream: Upstream, users: Path, tmp_path: Path
) -> None:
    never = tmp_path / "never"
    hosts = {HOST: options(upstream, users), OTHER: options(upstream, never)}
    start_cached(daemon, hosts, workers=1)
    closed = ask(daemon, basic("alice"), host=OTHER)
    assert (status(closed), status(ask(daemon, host=OTHER))) == (503, 503)
    assert b"\r\nRetry-After: 60\r\n" in closed
    assert f"file={never}" in daemon.log()
    assert status(ask(daemon, basic("alice"))) == 200
    users.write_text(line("alice") + "bob:plaintext-never-in-a-log\n")
    reload(daemon)
    assert "line 2: what is after the colon is no argon2id or bcrypt hash: make the line anew" in daemon.log()
    assert (status(ask(daemon, basic("alice"))), status(ask(daemon, basic("bob")))) == (200, 401)
    users.unlink()
    never.write_text(line("carol"))
    reload(daemon)
    assert status(ask(daemon, basic("alice"))) == 200
    assert status(ask(daemon, basic("carol"), host=OTHER)) == 200
    users.write_text(line("bob"))
    reload(daemon)
    assert (status(ask(daemon, basic("alice"))), status(ask(daemon, basic("bob")))) == (401, 200)
    users.write_text("")
    eventually(lambda: status(ask(daemon, basic("bob"))) == 401, what=daemon.log)  # an empty list is one


@pytest.mark.parametrize("number", [1, 2])
def test_an_operator_hears_of_a_file_that_cannot_be_used(
    daemon: DaemonProcess, upstream: Upstream, users: Path, tmp_path: Path, number: int
) -> None:
    port, told = free_port(), tmp_path / "told"
    more: dict[str, Any] = {
        "admin": {"listen": f"127.0.0.1:{port}"},
        "alerts": [{"exec": ["tee", str(told)]}],
        "workers": number,
    }
    start_cached(daemon, {HOST: options(upstream, users), OTHER: options(upstream, tmp_path / "never")}, **more)
    said = f"a file of basic_auth.users cannot be used: {tmp_path}/never: cannot be read: No such file or directory"
    shown = command(daemon, "status")
    assert (shown.status, said in shown.out) == (1, True)
    document = json.loads(command(daemon, "status", "--json").out)
    assert (document["ok"], document["user_file"]) == (False, said)
    assert scrape(port)["proxyd_trouble", "user_file"] == 1
    assert "cannot be read: No such file" in fetch(port, "/status")[1]
    eventually(told.exists, what=daemon.log)
    eventually(lambda: "user_file" in told.read_text())
    users.write_text("")
    eventually(lambda: "and 1 more of such files" in command(daemon, "status").out, what=daemon.log)
    for file in (users, tmp_path / "never"):
        file.write_text(line("alice"))
    eventually(lambda: command(daemon, "status").status == 0, what=daemon.log)
    assert scrape(port)["proxyd_trouble", "user_file"] == 0


def test_who_was_let_in_is_in_the_access_log(daemon: DaemonProcess, upstream: Upstream, users: Path) -> None:
    users.write_text(line("alice") + line("jörg"))
    hosts = {HOST: options(upstream, users, paths={"/old": {"redirect": "/new"}}), OTHER: upstream.port}
    start_cached(daemon, hosts, workers=1, log={"access": {"format": "json"}})
    for _ in range(2):  # verified, then remembered
        assert status(ask(daemon, basic("jörg"))) == 200
    assert status(tls(daemon.https_port, HOST, get(HOST, basic("alice"), path="/old"))) == 308
    assert status(ask(daemon, basic("alice", "wrong"))) == 401
    assert status(ask(daemon, basic("alice"), host=OTHER)) == 200
    daemon.wait_for(f'"host": "{OTHER}"')
    found = [json.loads(one) for one in daemon.log().splitlines() if '"event": "request"' in one]
    assert [(one["status"], one["user"]) for one in found] == [
        *[(200, "jörg")] * 2,
        (308, "alice"),
        (401, None),
        (200, None),
    ]


def test_the_order_of_guards(daemon: DaemonProcess, upstream: Upstream, users: Path) -> None:
    both = options(upstream, users, deny=["127.0.0.2"], rate_limit="3/h", redirect="https://elsewhere.example")
    down = options(upstream, users, maintenance=True, max_body=3)
    start_cached(daemon, {HOST: both, OTHER: down}, workers=1)
    assert status(ask(daemon, source="127.0.0.2")) == 403
    assert status(ask(daemon)) == 401, "not redirected before who it is is known"
    assert status(ask(daemon, basic("alice"))) == 308
    assert [status(ask(daemon)), status(ask(daemon, basic("alice")))] == [401, 429]
    assert status(ask(daemon, host=OTHER)) == 503
    assert status(plain(daemon.http_port, get(HOST))) == 308
    daemon.configure({OTHER: {**down, "maintenance": False}}, acme=NO_CA, workers=1)
    reload(daemon)
    post = f"POST / HTTP/1.1\r\nHost: {OTHER}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n".encode()
    assert tls(daemon.https_port, OTHER, post).startswith(b"HTTP/1.1 413 ")
    small = post.replace(b"9", b"3", 1)
    assert tls(daemon.https_port, OTHER, small).startswith(b"HTTP/1.1 401 "), "no 100 before it is let in"


def test_check_says_what_is_wrong_with_the_file(daemon: DaemonProcess, upstream: Upstream, users: Path) -> None:
    daemon.configure({HOST: options(upstream, users), OTHER: options(upstream, users)}, acme=NO_CA)
    assert command(daemon, "check").status == 0
    users.chmod(0o644)
    told = command(daemon, "check")
    assert told.status == 0
    assert (told.out + told.err).count(f"everybody on this machine can read the hashes in {users}: chmod 640") >= 1
    users.write_text("alice:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n")
    told = command(daemon, "check")
    assert told.status == 2
    assert (
        f"{HOST}.basic_auth.users: {users}: line 1: Apache's MD5 (apr1) is no hash for passwords any more" in told.err
    )
    assert "proxyd password alice" in told.err
    users.unlink()
    assert f"{users}: cannot be read: No such file or directory" in command(daemon, "check").err


@pytest.mark.parametrize(
    ("name", "given", "status", "said"),
    [
        ("alice", "correct horse\n", 0, ""),
        ("Jörg", "pässword", 0, ""),
        ("a:b", "x\n", 2, "without colon"),
        ("alice", "", 2, "the password is empty"),
        ("alice", "a\tb\n", 2, "control characters"),
    ],
)
def test_proxyd_password_makes_the_line(name: str, given: str, status: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxyd", "password", name],
        cwd=ROOT,
        input=given.encode(),
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, bool(done.stdout)) == (status, not status)
    assert said in done.stderr.decode()
    if not status:
        assert done.stdout.decode().startswith(f"{name}:$argon2id$v=19$m=19456,t=2,p=1$")
        assert given.strip() not in done.stdout.decode()


def test_a_line_of_ours_lets_its_user_in(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "proxyd", "password", "Jörg"],
        cwd=ROOT,
        input=PASSWORD.encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    (tmp_path / "users").write_bytes(made.stdout)
    start_cached(daemon, {HOST: options(upstream, tmp_path / "users")})
    assert status(ask(daemon, basic("Jörg"))) == 200
    assert status(ask(daemon, basic("Jörg", "x"))) == 401
