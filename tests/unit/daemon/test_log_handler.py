"""Floods are held back for each event and host; what is held back is counted."""

import copy
import logging
import os

import pytest

from proxyd.daemon import log_handler
from proxyd.daemon.log_handler import LogHandler
from proxyd.daemon.log_line import console_line, json_line
from proxyd.daemon.log_sink import StderrSink


class Kept(list[logging.LogRecord]):
    """A sink that keeps records."""

    def __call__(self, record: logging.LogRecord) -> None:
        self.append(record)

    def close(self) -> None:
        pass


def record(host: str = "a.example.com", *, level: int = logging.WARNING, number: int = 0) -> logging.LogRecord:
    fields = {"name": "proxyd.test", "msg": "failed", "levelno": level, "levelname": "WARNING"}
    return logging.makeLogRecord({**fields, "host": host, "number": number})


def test_a_flood_of_one_host_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(log_handler, "monotonic", lambda: now)
    written = Kept()
    handler = LogHandler(written)
    for number in range(1244):
        handler.handle(record(number=number))
    handler.handle(record("b.example.com"))
    assert [one.__dict__["host"] for one in written] == ["a.example.com"] * 10 + ["b.example.com"]
    now = 60.0
    handler.tell_repeated()
    assert " failed … and 1,234 more like it in the last minute host=a.example.com number=1243" in console_line(
        written[-1]
    )
    assert '"event": "failed", "host": "a.example.com", "number": 1243, "more": 1234}' in json_line(written[-1])
    handler.tell_repeated()
    assert len(written) == 12


def test_what_a_parent_has_held_back_only_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Kept()
    handler = LogHandler(written)
    for number in range(12):
        handler.handle(record(number=number))
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        copied = copy.copy(handler)
        copied.tell_repeated(rest=True)
        assert len(written) == 10
    handler.tell_repeated(rest=True)
    assert len(written) == 11


def test_others_count_by_their_name() -> None:
    written = Kept()
    handler = LogHandler(written)
    for number in range(100):
        handler.handle(logging.makeLogRecord({"name": "asyncio", "msg": f"failed {number}", "levelno": 40}))
    assert len(written) == 10


def test_alerts_are_never_held_back() -> None:
    written = Kept()
    handler = LogHandler(written)
    for _ in range(100):
        handler.handle(logging.makeLogRecord({"name": "proxyd.alerts", "msg": "alert", "levelno": 30}))
    assert len(written) == 100


def test_debug_is_everything() -> None:
    written = Kept()
    handler = LogHandler(written)
    for _ in range(100):
        handler.handle(record(level=logging.DEBUG))
    assert len(written) == 100


def test_a_line_that_cannot_be_shown_ends_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: logging.LogRecord) -> str:
        raise ValueError("no")

    LogHandler(StderrSink(fails)).handle(record())
    assert "ValueError: no" in capsys.readouterr().err
