"""Each option of `log.access` in the line that comes of it."""

import json
from typing import Any

import pytest

from proxyd.config.model import LogOptions
from proxyd.daemon.access_output import shown
from tests.unit.daemon.test_access_line import record

CLIENT = "203.0.113.77"


def line(**access: Any) -> str:
    return shown(LogOptions.model_validate({"format": "json", "access": access}))(record(client=CLIENT), 0)


def test_without_the_query() -> None:
    assert json.loads(line(query=False))["target"] == "/x"
    assert "y=z" not in line(format="console", query=False)
    assert "y=z" in line()


@pytest.mark.parametrize(
    ("client", "masked"),
    [("203.0.113.77", "203.0.113.0"), ("2001:db8:1:2::3", "2001:db8:1::"), ("::ffff:203.0.113.77", "203.0.113.0")],
)
def test_masked_clients(client: str, masked: str) -> None:
    show = shown(LogOptions.model_validate({"format": "json", "access": {"client": "masked"}}))
    assert json.loads(show(record(client=client), 0))["client"] == masked


@pytest.mark.parametrize(("client", "user"), [("full", "alice"), ("masked", None), ("none", None)])
def test_who_masks_clients_masks_their_names(client: str, user: str | None) -> None:
    show = shown(LogOptions.model_validate({"format": "json", "access": {"client": client}}))
    assert json.loads(show(record(user="alice"), 0))["user"] == user


def test_no_clients() -> None:
    assert json.loads(line(client="none"))["client"] is None
    assert CLIENT not in line(format="console", client="none")
    assert line(client="none", format="combined").startswith("- - - [01/Jan/1970:00:00:00 +0000] ")


@pytest.mark.parametrize(
    ("log", "begins"),
    [
        ({}, "{"),
        ({"format": "console"}, "1970-01-01T00:00:00.000Z INFO    request "),
        ({"format": "json"}, "{"),
        ({"format": "console", "access": {"format": "json"}}, "{"),
        ({"format": "console", "access": {"file": "/x"}}, "{"),
        ({"format": "console", "access": {"file": "/x", "format": "combined"}}, "2001:db8::1 - - ["),
        ({"format": "json", "access": {"file": "/x", "format": "console"}}, "1970-01-01T"),
        ({"format": "json", "access": {"format": "console"}}, "1970-01-01T"),
    ],
)
def test_forms(log: dict[str, Any], begins: str) -> None:
    assert shown(LogOptions.model_validate(log))(record(), 0).startswith(begins)
