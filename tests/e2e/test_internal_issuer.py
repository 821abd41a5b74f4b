"""Certificates of our own CA, from a daemon that reaches no CA and no DNS."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from proxyd.certs.internal_root import InternalRoot
from proxyd.core.hostname import Hostname
from tests.e2e.test_alerts import kinds
from tests.support.cached import NO_CA, for_anybody, keep_certificates, reload
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, accepts, eventually
from tests.support.receiver import receiver
from tests.support.upstream import Upstream
from tests.support.wrong_clock import put_on_wrong_machine

HOSTS = ["localhost", "app.test", "127.0.0.1"]
_NOBODY = ["127.0.0.1:9"]  # no DNS server answers there


def _start(daemon: DaemonProcess, upstream: Upstream, *hosts: str, **more: Any) -> None:
    daemon.configure(dict.fromkeys(hosts or HOSTS, upstream.port), resolvers=_NOBODY, **more)
    daemon.start()
    eventually(lambda: _row(daemon, (hosts or HOSTS)[-1])["state"] == "ready", what=daemon.log)


def _row(daemon: DaemonProcess, host: str) -> dict[str, str]:
    row: dict[str, str] = command(daemon, "status", "--json").json["hosts"].get(host, {"state": "missing"})
    return row


def _root(daemon: DaemonProcess) -> bytes:
    done = command(daemon, "trust")
    assert done.status == 0, done.err
    return done.out.encode()


def _root_file(daemon: DaemonProcess) -> Path:
    return daemon.cache / "+proxyd" / "internal-ca" / "root.pem"


@pytest.fixture
def client(daemon: DaemonProcess, upstream: Upstream) -> HttpsClient:
    _start(daemon, upstream)
    return HttpsClient(daemon.https_port, _root(daemon))


def test_local_names_are_served_with_its_root(daemon: DaemonProcess, client: HttpsClient) -> None:
    client.wait_for(HOSTS, daemon=daemon)
    for host in HOSTS:
        assert b"200 OK" in client.get(host)
        assert _row(daemon, host)["issuer"] == "internal"
    log = daemon.log()
    assert log.count("the internal CA made its root") == 1
    assert "preflight" not in log
    told = command(daemon, "explain", "app.test").out
    assert "from internal; it is our own CA and asks for no proof" in told
    assert "ordered from the internal CA" in told
    assert "The name as seen from here" not in told
    assert command(daemon, "account").out == ""
    planned = command(daemon, "plan").out
    assert "nothing would change" in planned


def test_a_restart_and_another_process_keep_the_root(daemon: DaemonProcess, client: HttpsClient) -> None:
    client.wait_for(HOSTS, daemon=daemon)
    before = _root(daemon), client.leaf("app.test")
    daemon.stop()
    assert _root(daemon) == before[0]  # from the cache
    daemon.start()
    client.wait_for(HOSTS, daemon=daemon)
    assert (_root(daemon), client.leaf("app.test")) == before


def test_both_kinds_of_keys(daemon: DaemonProcess, upstream: Upstream) -> None:
    _start(daemon, upstream, acme={"key_type": ["p384", "rsa2048"]})
    root = _root(daemon)
    eventually(lambda: "rsa2048" in command(daemon, "explain", "app.test").out, what=daemon.log)
    for ciphers, kind in (("ECDHE+ECDSA", ec.EllipticCurvePublicKey), ("ECDHE+aRSA", rsa.RSAPublicKey)):
        client = HttpsClient(daemon.https_port, root)
        context = client._context
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        client.wait_for(["app.test"], daemon=daemon)
        assert isinstance(x509.load_der_x509_certificate(client.leaf("app.test")).public_key(), kind)


def test_it_is_renewed_in_time(daemon: DaemonProcess, client: HttpsClient) -> None:
    client.wait_for(HOSTS, daemon=daemon)
    before, root = client.leaf("app.test"), _root(daemon)
    daemon.stop()
    put_on_wrong_machine(daemon, timedelta(days=5))
    daemon.forget_log()
    daemon.start()
    eventually(lambda: daemon.log().count("certificate issued") == len(HOSTS), what=daemon.log)
    client._context = for_anybody()  # to a client of today it is not valid yet
    assert client.leaf("app.test") != before
    assert _root(daemon) == root


def test_renew_as_often_as_one_likes(daemon: DaemonProcess, client: HttpsClient) -> None:
    client.wait_for(HOSTS, daemon=daemon)
    seen = {client.leaf("app.test")}
    for _ in range(4):
        assert command(daemon, "renew", "app.test").status == 0
        seen.add(client.leaf("app.test"))
    assert command(daemon, "renew", "--force", "app.test").status == 0
    assert len({*seen, client.leaf("app.test")}) == 6


def test_revoke_replaces(daemon: DaemonProcess, client: HttpsClient) -> None:
    client.wait_for(HOSTS, daemon=daemon)
    before = client.leaf("app.test")
    done = command(daemon, "revoke", "app.test", "--reason", "keyCompromise")
    assert done.status == 0
    assert "the internal CA has no revocation" in done.out
    assert client.leaf("app.test") != before


def test_a_broken_root_is_replaced_and_told(daemon: DaemonProcess, upstream: Upstream) -> None:
    with receiver() as people:
        _start(daemon, upstream, "app.test", alerts=[{"webhook": people.url}])
        old = HttpsClient(daemon.https_port, _root(daemon))
        old.wait_for(["app.test"], daemon=daemon)
        daemon.stop()
        _root_file(daemon).write_bytes(_root_file(daemon).read_bytes()[:200])
        daemon.start()
        old.wait_for(["app.test"], daemon=daemon)  # the last good serves on
        assert "is broken" in command(daemon, "trust").err
        done = command(daemon, "renew", "app.test")
        assert (done.status, "the internal CA has a new root" in done.out) == (1, True)
        eventually(lambda: kinds(people.documents, "problem") == {"root_changed"}, what=daemon.log)
        done = command(daemon, "status")
        assert done.status == 1
        assert "the internal CA has a new root" in done.out
        assert "proxyd trust" in command(daemon, "explain", "app.test").out
        HttpsClient(daemon.https_port, _root(daemon)).wait_for(["app.test"], daemon=daemon)
        assert command(daemon, "status").status == 0  # a person has got it
        with pytest.raises(ssl.SSLCertVerificationError):
            old.leaf("app.test")
        assert [*(daemon.cache / "+proxyd" / "aside").glob("root.pem.*")]


def test_names_under_a_wildcard(daemon: DaemonProcess, upstream: Upstream) -> None:
    _start(daemon, upstream, "*.apps.test", "app.test", acme={"key_type": ["p256", "rsa2048"]})
    client = HttpsClient(daemon.https_port, _root(daemon))
    assert b"200 OK" in client.get("one.apps.test")
    assert b"200 OK" in client.get("two.apps.test")
    assert _row(daemon, "one.apps.test")["issuer"] == "internal"
    eventually(lambda: (daemon.cache / "one.apps.test+rsa").exists(), what=daemon.log)  # nobody waits for it
    with pytest.raises(ssl.SSLError):
        client.leaf("a.two.apps.test")


def test_a_name_that_is_not_local_needs_the_other_root(daemon: DaemonProcess, upstream: Upstream) -> None:
    options = {"upstream": upstream.port, "tls": {"issuer": "internal"}}
    daemon.configure({"www.example.com": options, "app.test": upstream.port}, resolvers=_NOBODY)
    daemon.start()
    eventually(lambda: _row(daemon, "www.example.com")["state"] == "ready", what=daemon.log)
    shown = command(daemon, "trust", "--json").json["roots"]
    assert [(one["limited"], one["hosts"]) for one in shown] == [(True, ["app.test"]), (False, ["www.example.com"])]
    limited, other = (HttpsClient(daemon.https_port, one["pem"].encode()) for one in shown)
    assert b"200 OK" in limited.get("app.test")
    assert b"200 OK" in other.get("www.example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        limited.leaf("www.example.com")
    assert "warning: www.example.com needs a root" in command(daemon, "check").err


def test_from_one_issuer_to_the_other_and_back(daemon: DaemonProcess, upstream: Upstream) -> None:
    keep_certificates(daemon, "app.test", begin=datetime.now(UTC) - timedelta(days=1))
    daemon.configure({"app.test": upstream.port}, acme=NO_CA)
    daemon.start()
    anybody = HttpsClient(daemon.https_port, b"")
    anybody._context = for_anybody()
    anybody.wait_for(["app.test"], daemon=daemon)
    daemon.configure({"app.test": upstream.port})  # no public CA certifies it
    reload(daemon)
    assert command(daemon, "renew", "app.test").status == 0  # of unknown origin, so it may stay
    client = HttpsClient(daemon.https_port, _root(daemon))
    client.wait_for(["app.test"], daemon=daemon)
    leaf = client.leaf("app.test")
    daemon.configure({"app.test": upstream.port}, acme=NO_CA)
    reload(daemon)
    eventually(lambda: "no certificate" in daemon.log(), what=daemon.log)  # it is wanted from the other one now
    assert client.leaf("app.test") == leaf  # and serves on meanwhile
    daemon.configure({"app.test": upstream.port})
    reload(daemon)
    eventually(lambda: _row(daemon, "app.test")["state"] == "ready", what=daemon.log)
    assert client.leaf("app.test") == leaf
    daemon.stop()
    daemon.start()
    client.wait_for(["app.test"], daemon=daemon)
    assert client.leaf("app.test") == leaf


def test_there_is_no_root_before_the_first_certificate(daemon: DaemonProcess) -> None:
    daemon.configure({"app.test": 80, "example.com": 80})
    done = command(daemon, "trust")
    assert (done.status, done.out) == (1, "")
    assert "there is no root yet: it is made with the first certificate (app.test), when the daemon runs" in done.err
    daemon.configure({"example.com": 80})
    done = command(daemon, "trust", "--install")
    assert (done.status, done.out) == (1, "")
    assert "there is no root, and no host needs one" in done.err
    assert not daemon.cache.exists()
    assert command(daemon, "trust", "--install", "--uninstall").status == 2


def test_what_is_looked_at_before(daemon: DaemonProcess) -> None:
    daemon.configure({"app.test": 80})
    done = command(daemon, "check", "--online")
    assert done.status == 0
    assert "app.test: certified by the internal CA: clients have to trust its root (`proxyd trust`)" in done.out
    assert "  CAA" not in done.out
    assert Hostname("app.test").text in command(daemon, "check", "--json").json["internal"]


def test_two_daemons_on_one_cache_make_one_root(make_daemon: Callable[[], DaemonProcess], upstream: Upstream) -> None:
    both = [make_daemon() for _ in range(2)]
    both[1].cache = both[0].cache
    for one in both:
        one.configure({"app.test": upstream.port}, resolvers=_NOBODY)
        one.start(wait=False)
    file = _root_file(both[0])
    eventually(file.exists, what=both[0].log)
    for one in both:
        eventually(lambda one=one: accepts(one.https_port), what=one.log)  # type: ignore[misc]
        certificate = InternalRoot.parse(file.read_bytes()).certificate_pem
        HttpsClient(one.https_port, certificate).wait_for(["app.test"], daemon=one)
    assert sum(one.log().count("the internal CA made its root") for one in both) == 1
