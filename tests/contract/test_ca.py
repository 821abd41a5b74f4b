"""What our client needs of a CA. Pebble and the fake one both do it, so what the fake is used for elsewhere is real."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from pebble.server import Pebble, free_port
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.issuance.issuer import ReplacesRefused
from tests.support.daemon import eventually
from tests.support.fake_ca import FakeCa
from tests.support.issuance import Client

HOST = "one.example.test"
EitherCa = Pebble | FakeCa


@pytest.fixture
def http_port() -> int:
    return free_port()


@pytest.fixture(params=["pebble", "fake"])
def ca(request: pytest.FixtureRequest, tmp_path: Path, http_port: int) -> Iterator[EitherCa]:
    kind = Pebble if request.param == "pebble" else FakeCa
    with kind(tmp_path / "ca", http_port=http_port, tls_port=1) as one:
        yield one


@pytest.fixture
def client(ca: EitherCa, tmp_path: Path, http_port: int) -> Client:
    return Client(ca, tmp_path / "cache", http_port=http_port)


async def test_it_gives_a_certificate_for_what_was_asked(ca: EitherCa, client: Client) -> None:
    async with client:
        issuance = await client.issue(HOST, "two.example.test")
        certificate = issuance.certificate
        assert {name.text for name in certificate.names} == {HOST, "two.example.test"}
        assert issuance.challenge == "http-01"
        assert certificate.ari_id
        chain = x509.load_pem_x509_certificates(certificate.pem)
        chain[-1].verify_directly_issued_by(x509.load_pem_x509_certificate(ca.root()))
        assert client.orders.all()[0].gave(certificate)  # until the caller has it safe
        assert client.board.answer(Hostname(HOST), "x") is None
        assert client.account.url is not None


async def test_every_certificate_has_a_key_of_its_own(client: Client) -> None:
    async with client:
        first, second = await client.issue(HOST), await client.issue(HOST)
        keys = [x509.load_der_x509_certificate(one.certificate.leaf).public_key() for one in (first, second)]
        assert keys[0] != keys[1]


async def test_a_name_that_cannot_be_proved_fails_as_validation(client: Client) -> None:
    async with client:
        error = await client.failure(HOST, challenges=("tls-alpn-01",))  # nothing listens there
        assert error.failure.kind is FailureKind.VALIDATION
        assert error.failure.challenge == "tls-alpn-01"
        assert client.orders.all() == []


async def test_an_account_is_found_again_by_its_key_and_its_key_can_change(
    ca: EitherCa, client: Client, tmp_path: Path, http_port: int
) -> None:
    async with client:
        await client.issue(HOST)
        url = client.account.url
        old = (tmp_path / "cache" / "acme_account+key").read_bytes()
        await client.account.rotate_key()
        await client.issue("two.example.test")
    assert (tmp_path / "cache" / "acme_account+key").read_bytes() != old
    async with Client(ca, tmp_path / "cache", http_port=http_port) as again:
        await again.issue("three.example.test")
        assert again.account.url == url


async def test_a_change_of_keys_that_was_cut_off_is_noticed(
    ca: EitherCa, client: Client, tmp_path: Path, http_port: int
) -> None:
    """Killed after the CA agreed: the new key was kept first, beside the old one."""
    used = tmp_path / "cache" / "acme_account+key"
    async with client:
        await client.issue(HOST)
        url, old = client.account.url, used.read_bytes()
        await client.account.rotate_key()
    waiting = tmp_path / "cache" / "+proxyd" / "next-account-keys" / used.name
    assert not waiting.exists()
    used.rename(waiting)
    used.write_bytes(old)
    async with Client(ca, tmp_path / "cache", http_port=http_port) as again:
        await again.issue("two.example.test")
        assert again.account.url == url
    assert used.read_bytes() != old


async def test_a_changed_contact_is_told(ca: EitherCa, client: Client, tmp_path: Path, http_port: int) -> None:
    async with client:
        await client.issue(HOST)
        url = client.account.url
    async with Client(ca, tmp_path / "cache", http_port=http_port, email="me@example.org") as again:
        signer = await again.account.signer()
        assert signer.url == url
        answer = await again.transport.post(url, None, signer)
        assert answer.json["contact"] == ["mailto:me@example.org"]


async def test_a_deactivated_account_is_no_trouble_of_a_name_and_makes_room_for_another(
    ca: EitherCa, client: Client, tmp_path: Path, http_port: int
) -> None:
    """Found out by the order that is under its name, and by the question for it after a restart."""

    def check(error: IssuanceError) -> None:
        assert error.failure.kind is FailureKind.ACCOUNT_REFUSED
        assert error.failure.problem == "unauthorized"
        assert "deactivated" in str(error)
        assert "move its key (acme_account+key) away" in error.failure.cause

    async with client:
        old = (await client.issue(HOST)).certificate
        signer = await client.account.signer()
        await client.transport.post(signer.url, {"status": "deactivated"}, signer)
        check(await client.failure(HOST))
        async with Client(ca, tmp_path / "cache", http_port=free_port()) as again:
            check(await again.failure(HOST))
            with pytest.raises(IssuanceError) as shown:
                await again.account.look()
            check(shown.value)
            await again.issuer.revoke(old, 1)  # by its own key
        (tmp_path / "cache" / "acme_account+key").rename(tmp_path / "away")
        issuance = await client.issue(HOST)
        assert issuance.account not in (None, signer.url)


async def test_a_window_is_told_and_a_certificate_is_replaced_once(client: Client) -> None:
    async with client:
        old = (await client.issue(HOST)).certificate
        answer = await client.issuer.renewal_window(old.ari_id)
        assert answer.window is not None
        assert answer.retry_after is not None
        await client.issue(HOST, replaces=old.ari_id)
        with pytest.raises(ReplacesRefused):
            await client.issue(HOST, replaces=old.ari_id)


async def test_a_certificate_of_another_account_is_replaced_by_nobody_else(
    ca: EitherCa, client: Client, tmp_path: Path, http_port: int
) -> None:
    async with client:
        issuance = await client.issue(HOST)
        old, account = issuance.certificate.ari_id, issuance.account
        assert account == client.account.url
    async with Client(ca, tmp_path / "other", http_port=http_port) as other:
        with pytest.raises(ReplacesRefused, match="did not request the certificate"):
            await other.issue(HOST, replaces=old)
        with pytest.raises(ReplacesRefused, match="another account ordered"):  # known before: the CA is not asked
            await other.issue(HOST, replaces=old, account=account)
        assert (await other.issue(HOST)).account == other.account.url != account


async def test_a_certificate_that_the_ca_does_not_know_is_replaced_by_none(client: Client) -> None:
    async with client:
        old = (await client.issue(HOST)).certificate.ari_id
        with pytest.raises(ReplacesRefused):
            await client.issue(HOST, replaces=f"{old.partition('.')[0]}.AIdlQyE")


async def test_of_a_certificate_that_the_ca_does_not_know_it_tells_no_window(client: Client) -> None:
    async with client:
        old = (await client.issue(HOST)).certificate.ari_id
        with pytest.raises(IssuanceError, match="HTTP 404"):
            await client.issuer.renewal_window(f"{old.partition('.')[0]}.AIdlQyE")


async def test_an_order_that_was_cut_off_is_gone_on_with(client: Client) -> None:
    async with client:
        first = await client.issue(HOST)
        (pending,) = client.orders.all()
        order = _order(client)
        again = await client.issuer.resume(order, pending, ("http-01",))
        assert again is not None
        assert again.certificate.serial == first.certificate.serial


async def test_an_order_that_the_ca_has_no_more_is_forgotten(client: Client) -> None:
    async with client:
        await client.issue(HOST)
        (pending,) = client.orders.all()
        gone = replace(pending, url=f"{pending.url}0")
        await client.issuer.abandon(gone)
        assert client.orders.all() == [pending]
        assert await client.issuer.resume(_order(client), gone, ("http-01",)) is None


async def test_an_order_that_failed_while_nobody_looked_says_why(client: Client) -> None:
    async with client:
        failing = asyncio.create_task(client.failure(HOST, challenges=("tls-alpn-01",)))  # nothing listens there
        await asyncio.to_thread(eventually, client.orders.all)
        (pending,) = client.orders.all()
        await failing
        client.orders.save(pending)
        with pytest.raises(IssuanceError) as found:
            await client.issuer.resume(_order(client), pending, ("http-01",))
        failure = found.value.failure
        assert (failure.kind, failure.challenge) == (FailureKind.VALIDATION, "tls-alpn-01")
        assert "could not validate the name by tls-alpn-01" in failure.message
        assert client.orders.all() == []


async def test_a_certificate_can_be_revoked(client: Client) -> None:
    async with client:
        certificate = (await client.issue(HOST)).certificate
        await client.issuer.revoke(certificate, 1)


async def test_a_profile_that_is_not_offered_is_refused_with_the_list(
    ca: EitherCa, tmp_path: Path, http_port: int
) -> None:
    async with Client(ca, tmp_path / "cache", http_port=http_port, profile="nowhere") as client:
        error = await client.failure(HOST)
        assert error.failure.kind is FailureKind.HOST_REFUSED
        assert "default" in str(error)


async def test_a_profile_that_the_ca_has_begun_to_offer_is_seen_at_the_next_order(
    tmp_path: Path, http_port: int
) -> None:
    with FakeCa(tmp_path / "ca", http_port=http_port, tls_port=1) as ca:
        async with Client(ca, tmp_path / "cache", http_port=http_port, profile="new") as client:
            assert (await client.failure(HOST)).failure.kind is FailureKind.HOST_REFUSED
            ca.meta = {"profiles": {"new": "since today"}}
            ca.asked.clear()
            await client.issue(HOST)
            assert ca.asked["directory"] == 1
            await client.issue(HOST)
            assert ca.asked["directory"] == 1


def _order(client: Client) -> CertificateOrder:
    lineage = client.orders.all()[0].lineage
    return CertificateOrder(host=lineage.host, names=lineage.names, key_kind=lineage.key_kind)
