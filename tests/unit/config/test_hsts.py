"""Strict-Transport-Security as people write it."""

from datetime import timedelta

import pytest

from proxyd.config.document import ConfigError
from proxyd.config.host import HostOptions
from proxyd.config.hsts import Hsts
from proxyd.config.load import parse

YEAR = timedelta(days=365)


def read(written: str, *, before: str = "", host: str = "example.com") -> Hsts | None:
    own = f", hsts: {written}" if written else ""
    config = parse(f"{before}hosts:\n  {host}: {{upstream: 80{own}}}\n", "f")
    (options,) = config.hosts.values()
    assert isinstance(options, HostOptions)
    return options.hsts


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("false", None),
        ("true", (YEAR, True, False)),
        ("{}", (YEAR, True, False)),
        ("{max_age: 0, include_subdomains: false}", (timedelta(0), False, False)),
        ("{max_age: 365d, preload: true}", (YEAR, True, True)),
        ("ramp", ("ramp", False, False)),
        ("{max_age: ramp}", ("ramp", True, False)),
    ],
)
def test_forms(written: str, found: tuple[object, bool, bool] | None) -> None:
    hsts = read(written)
    assert (None if hsts is None else (hsts.max_age, hsts.include_subdomains, hsts.preload)) == found


def test_hosts_may_differ_from_the_defaults() -> None:
    before = "defaults: {hsts: {max_age: 1d, include_subdomains: false}}\n"
    assert read("", before=before) == Hsts(max_age=timedelta(days=1), include_subdomains=False)
    assert read("{max_age: 2d}", before=before) == Hsts(max_age=timedelta(days=2), include_subdomains=False)
    assert read("false", before=before) is None


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{max_age: 364d, preload: true}", "hosts.example.com.hsts: preload needs a max_age of at least 365d"),
        ("{max_age: ramp, preload: true}", "preload needs a max_age of at least 365d"),
        ("{preload: true, include_subdomains: false}", "preload needs include_subdomains: true"),
        ("{max_age: 11000d}", "must be from 0 (browsers forget it) to ten years"),
        ("{max_age: long}", "hsts.max_age: must be"),
        (
            "rampe",
            "hsts: must be true, false, ramp, or like {max_age: 365d, include_subdomains: true} (written: rampe)",
        ),
        ("31536000", "hsts: must be true, false, ramp, or like"),
        ("{subdomains: true}", "unknown key: did you mean include_subdomains?"),
    ],
)
def test_mistakes(written: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(written)
    assert message in str(caught.value)


def test_preload_is_looked_at_as_it_is_in_force() -> None:
    with pytest.raises(ConfigError, match="preload needs a max_age"):
        read("{max_age: 1d}", before="defaults: {hsts: {preload: true}}\n")


def test_names_under_a_wildcard_host_have_no_ramp() -> None:
    before = "acme: {server: https://ca.test/dir, on_demand: {ask: http://127.0.0.1:1/}}\n"
    assert read("true", before=before, host='"*.example.com"') is not None
    with pytest.raises(ConfigError, match="ramp goes by the renewals of one certificate"):
        read("ramp", before=before, host='"*.example.com"')
