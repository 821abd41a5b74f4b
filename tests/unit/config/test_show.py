"""What is shown means the same when it is read again."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.config.load import parse
from proxyd.config.model import Config
from proxyd.config.show import shown
from proxyd.config.values import parse_duration, show_duration

FILE = """
defaults: {timeouts: {connect: 1m30s}, maintenance: true}
limits: {max_header: 20KiB}
log: {access: false}
hosts:
  a.example.com: {upstream: [80, "unix:/run/a.sock"], aliases: [b.example.com], paths: {/x/: {redirect: /y/}}}
  b.internal.example.com: {redirect: https://a.example.com, maintenance: false, acme: {server: zerossl}}
"""


def test_what_is_shown_is_the_same_configuration() -> None:
    config = parse(FILE, "f")
    found = shown(config)
    assert json.loads(json.dumps(found)) == found
    again = Config.model_validate({**found, "hosts": {}})
    for key in type(config).model_fields.keys() - {"hosts", "defaults", "cache"}:
        assert getattr(again, key) == getattr(config, key), key
    assert found["hosts"]["a.example.com"]["timeouts"]["connect"] == "1m30s"
    assert found["hosts"]["a.example.com"]["maintenance"] == {"retry_after": "1m", "page": None}
    assert found["hosts"]["b.internal.example.com"]["maintenance"] is None
    assert found["hosts"]["b.internal.example.com"]["acme"]["server"] == "zerossl"
    assert found["cache"] == str(config.cache_directory)


@given(st.integers(0, 10**9).map(lambda milliseconds: timedelta(milliseconds=milliseconds)))
def test_durations(duration: timedelta) -> None:
    assert parse_duration(show_duration(duration)) == duration


@pytest.mark.parametrize("written", ["10s", "5m", "1h30m", "7d", "500ms", "1d12h"])
def test_durations_look_as_written(written: str) -> None:
    assert show_duration(parse_duration(written)) == written
