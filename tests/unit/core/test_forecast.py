from datetime import UTC, datetime, timedelta

from proxyd.core.authority import Authority
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.forecast import forecast
from proxyd.core.hostname import Hostname
from proxyd.core.rate_ledger import LETS_ENCRYPT

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def orders(count: int, domain: str) -> list[tuple[str, CertificateOrder]]:
    hosts = [Hostname(f"h{number}.{domain.format(number)}") for number in range(count)]
    return [("le", CertificateOrder(host=host, names=(host,), key_kind="p256")) for host in hosts]


def authority() -> Authority:
    return Authority("le", LETS_ENCRYPT, registered_domain=lambda name: name.text.split(".", 1)[1])


def test_the_orders_of_an_account_come_back_every_36_seconds() -> None:
    times = forecast(orders(302, "d{}.test"), {"le": authority()}, NOW)
    assert set(times[:300]) == {NOW}
    assert times[300:] == [NOW + timedelta(seconds=36), NOW + timedelta(seconds=72)]


def test_a_domain_has_fifty_a_week() -> None:
    times = forecast(orders(51, "one.test"), {"le": authority()}, NOW)
    a_minute = timedelta(minutes=1)  # the CA counts what is issued, a little later than it is ordered
    assert times[-1] - NOW == timedelta(days=7) / 50 + a_minute
    assert times[:50] == [*[NOW] * 49, NOW + a_minute]


def test_without_known_limits_all_are_sent_now() -> None:
    assert forecast(orders(1000, "one.test"), {}, NOW) == [NOW] * 1000
