"""A pair for tests is what a server can serve and a client that is given it accepts."""

from datetime import UTC, datetime, timedelta

from proxyd.certs.certificate import Certificate
from proxyd.certs.self_signed import self_signed
from proxyd.core.hostname import Hostname

NOW = datetime(2026, 6, 1, 12, 0, 0, 5, tzinfo=UTC)


def test_names_addresses_and_a_day() -> None:
    hosts = [Hostname(one) for one in ("app.test", "*.app.test", "127.0.0.1", "::1")]
    certificate, key = self_signed(hosts, now=NOW, lifetime=timedelta(hours=24))
    found = Certificate.parse(key + certificate)
    assert found.names == {*hosts}
    assert found.key_kind == "p256"
    assert found.not_after == datetime(2026, 6, 2, 12, tzinfo=UTC)
    assert found.not_before < NOW


def test_a_name_that_is_too_long_for_a_common_name() -> None:
    host = Hostname(f"{'a' * 60}.{'b' * 60}.test")
    certificate, key = self_signed([host], now=NOW, lifetime=timedelta(hours=24))
    assert Certificate.parse(key + certificate).names == {host}
