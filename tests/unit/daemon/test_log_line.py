"""A record in each form; nothing in a field forges a line."""

import json
import logging
import sys
from datetime import UTC, datetime

from proxyd.core.hostname import Hostname
from proxyd.daemon.log_line import console_line, journal_fields, journal_line, json_line


def record(**fields: object) -> logging.LogRecord:
    about = {"name": "proxyd.test", "levelno": logging.WARNING, "levelname": "WARNING", "created": 1767323045.0067}
    return logging.makeLogRecord({**about, "msg": "not done", **fields})


ONE = record(host=Hostname("a.example.com"), reason='b "c"\n<0>', at=datetime(2026, 1, 2, tzinfo=UTC), none=None, n=1)


def test_for_a_person() -> None:
    said = r'not done host=a.example.com reason="b \"c\"\n<0>" at=2026-01-02T00:00:00Z n=1'
    assert console_line(ONE) == f"2026-01-02T03:04:05.006Z WARNING {said}"
    assert journal_line(ONE) == f"<4>{said}"


def test_for_a_machine() -> None:
    assert json.loads(json_line(ONE)) == {
        "time": "2026-01-02T03:04:05.006Z",
        "level": "warning",
        "logger": "proxyd.test",
        "event": "not done",
        "host": "a.example.com",
        "reason": 'b "c"\n<0>',
        "at": "2026-01-02T00:00:00Z",
        "none": None,
        "n": 1,
    }


def test_for_the_journal() -> None:
    assert journal_fields(ONE) == {
        "MESSAGE": r'not done host=a.example.com reason="b \"c\"\n<0>" at=2026-01-02T00:00:00Z n=1',
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "proxyd",
        "PROXYD_EVENT": "not done",
        "PROXYD_LOGGER": "proxyd.test",
        "PROXYD_HOST": "a.example.com",
        "PROXYD_REASON": 'b "c"\n<0>',
        "PROXYD_AT": "2026-01-02T00:00:00Z",
        "PROXYD_N": "1",
    }


def test_an_unforeseen_error_comes_with_its_way() -> None:
    try:
        raise KeyError("x")
    except KeyError:
        found = record(exc_info=sys.exc_info())
    assert "KeyError: 'x'" in json.loads(json_line(found))["traceback"]
    assert "KeyError: 'x'" in journal_fields(found)["PROXYD_TRACEBACK"]
    assert console_line(found).count("\n") == 0


def test_fields_do_not_take_the_place_of_what_each_line_has() -> None:
    found = record(event="other", logger="other", time="other", level="other")
    line = json.loads(json_line(found))
    assert (line["event"], line["logger"], line["level"]) == ("not done", "proxyd.test", "warning")
    assert line["time"] == "2026-01-02T03:04:05.006Z"
    assert journal_fields(found)["PROXYD_EVENT"] == "not done"
    assert journal_fields(found)["PROXYD_LOGGER"] == "proxyd.test"
