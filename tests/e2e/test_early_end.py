"""A CA that gives less than it should: a certificate that would end before what serves, or that is nearly over."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxyd.certs.certificate import Certificate
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer
from tests.support.upstream import Upstream

HOST = "one.example.test"
DAY = timedelta(days=1)


@pytest.fixture
def ca(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> Iterator[FakeCa]:
    """Give a first certificate of 90 days."""
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as one:
        daemon.configure({HOST: upstream.port}, acme={"server": one.url, "ca_bundle": str(one.bundle)})
        daemon.start()
        HttpsClient(daemon.https_port, one.root()).wait_for([HOST], daemon=daemon)
        daemon.wait_for("certificate issued")
        yield one
        daemon.stop()  # no connection of it outlives the CA


def days_left(daemon: DaemonProcess, ca: FakeCa) -> float:
    """Return what is left of the one that serves, which is the one in the cache."""
    kept = Certificate.parse((daemon.cache / HOST).read_bytes())
    assert HttpsClient(daemon.https_port, ca.root()).leaf(HOST) == kept.leaf
    return (kept.not_after - kept.not_before) / DAY


def test_an_earlier_end_without_a_reason_is_not_used(daemon: DaemonProcess, ca: FakeCa) -> None:
    ca.lifetime = 85 * DAY
    done = command(daemon, "renew", HOST)
    assert done.status != 0
    assert "ends before the one that serves" in done.out + done.err
    assert days_left(daemon, ca) == 90
    row = command(daemon, "status", "--json").json["hosts"][HOST]
    assert row["state"] == "waiting"
    assert row["failures"] == 1
    assert "ends before the one that serves" in row["last_error"]
    assert daemon.stop() == 0  # nor is it found by the next start
    daemon.forget_log()
    daemon.start()
    assert days_left(daemon, ca) == 90


def test_shorter_lives_are_the_policy_of_the_ca(daemon: DaemonProcess, ca: FakeCa) -> None:
    ca.lifetime = 45 * DAY
    assert command(daemon, "renew", HOST).status == 0
    assert days_left(daemon, ca) == 45


def test_a_person_may_want_it_all_the_same(daemon: DaemonProcess, ca: FakeCa) -> None:
    ca.lifetime = 85 * DAY
    assert command(daemon, "renew", "--force", HOST).status == 0
    assert days_left(daemon, ca) == 85


def test_certificates_that_are_nearly_over_when_they_come_serve_and_are_few(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        sign = ca.sign

        def dated_back(
            path: str, csr: x509.CertificateSigningRequest, *, not_before: datetime, not_after: datetime
        ) -> None:
            sign(path, csr, not_before=not_before - 85 * DAY, not_after=not_after - 85 * DAY)

        ca.sign = dated_back  # type: ignore[method-assign]  # this CA alone dates back
        daemon.configure({HOST: upstream.port}, acme={"server": ca.url, "ca_bundle": str(ca.bundle)})
        daemon.start()
        HttpsClient(daemon.https_port, ca.root()).wait_for([HOST], daemon=daemon)
        daemon.wait_for("due at once")
        for _ in range(7):
            command(daemon, "renew", HOST)
        assert ca.asked["order"] == 6  # our ceiling for renewals by ARI, to the end of the life
        assert daemon.stop() == 0
        daemon.forget_log()
        daemon.start()
        assert command(daemon, "renew", HOST).status != 0
        row = command(daemon, "status", "--json").json["hosts"][HOST]
        assert row["state"] == "waiting"
        assert row["needs_a_person"]
        assert "to be renewed already" in row["last_error"]
        story = command(daemon, "explain", HOST).out
        assert "no other one is asked for at once" in story
        assert "The CA gave a certificate, but it is no good" in story
        assert ca.asked["order"] == 6
        daemon.stop()


def test_certificates_that_the_ca_issues_for_nothing_are_counted(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    def alone_twice(answer: Answer) -> Answer:
        leaf = x509.load_pem_x509_certificates(answer.body or b"")[0].public_bytes(serialization.Encoding.PEM)
        answer.body = leaf + leaf
        return answer

    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        ca.script["certificate"] = alone_twice
        daemon.configure({HOST: upstream.port}, acme={"server": ca.url, "ca_bundle": str(ca.bundle)})
        daemon.start()
        daemon.wait_for("sent a certificate")
        for _ in range(3):
            assert command(daemon, "renew", HOST).status != 0
        assert daemon.stop() == 0
        daemon.start()
        refused = command(daemon, "renew", HOST)
        assert "enough certificates were ordered" in refused.out + refused.err
        assert ca.asked["finalize"] == 2
        assert "its part 2 did not sign part 1" in command(daemon, "status", "--json").json["hosts"][HOST]["last_error"]
        daemon.stop()
