"""Lines are in the file whole, whatever happens to it; that it cannot be written is told once."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyd.daemon.log_file import FileTroubles, LogFile
from tests.support.daemon import eventually


class Told:
    def __init__(self) -> None:
        self.words: list[tuple[str | None, int]] = []

    def __call__(self, reason: str | None, lost: int) -> None:
        self.words.append((reason, lost))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def file(tmp_path: Path, told: Told) -> Iterator[LogFile]:
    file = LogFile(tmp_path / "access.log", tell=told)
    file.reopen()
    yield file
    file.close()


def holds(path: Path, text: str) -> None:
    eventually(
        lambda: path.exists() and path.read_text() == text, what=lambda: path.read_text() if path.exists() else ""
    )


def test_what_was_written_is_there_after_the_end(file: LogFile, told: Told) -> None:
    for number in range(1000):
        file.write(f"{number}\n")
    file.close()
    assert file.path.read_text() == "".join(f"{number}\n" for number in range(1000))
    assert not told.words


@pytest.mark.parametrize("is_told", [True, False])
def test_a_file_that_was_moved_away(file: LogFile, is_told: bool) -> None:
    file.write("one\n")
    holds(file.path, "one\n")
    moved = file.path.rename(file.path.with_suffix(".1"))
    if is_told:
        file.reopen()
        holds(file.path, "")
    else:
        while not file.path.exists():
            file.write("two\n")
            time.sleep(0.01)
    file.write("three\n")
    eventually(lambda: file.path.read_text().endswith("three\n"))
    assert moved.read_text().startswith("one\n")


def test_a_file_that_was_cut(file: LogFile) -> None:
    file.write("one\n")
    holds(file.path, "one\n")
    os.truncate(file.path, 0)
    file.write("two\n")
    holds(file.path, "two\n")


def test_a_directory_that_is_missing_is_told_once(tmp_path: Path, told: Told) -> None:
    file = LogFile(tmp_path / "none" / "access.log", tell=told)
    file.reopen()
    eventually(lambda: told.words)
    for _ in range(3):
        file.write("lost\nlost\n")
    eventually(lambda: file._lost == 6)
    file.path.parent.mkdir()
    file.write("kept\n")
    eventually(lambda: len(told.words) == 2)
    file.close()
    assert told.words == [(f"No such file or directory: make the directory {tmp_path}/none", 0), (None, 6)]
    assert file.path.read_text() == "kept\n"


def test_a_full_disk(told: Told) -> None:
    file = LogFile(Path("/dev/full"), tell=told)
    file.reopen()
    for _ in range(100):
        file.write("lost\n")
    file.close()
    assert told.words == [("No space left on device: make room", 0)]


def test_a_pipe_that_nobody_reads(tmp_path: Path, told: Told) -> None:
    os.mkfifo(tmp_path / "pipe")
    file = LogFile(tmp_path / "pipe", tell=told)
    file.reopen()
    eventually(lambda: told.words)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    file.write("one\n")
    eventually(lambda: len(told.words) == 2)
    assert os.read(reader, 100) == b"one\n"
    for _ in range(3):
        file.write("x" * 99_999 + "\n")
    eventually(lambda: len(told.words) == 3)
    assert told.words[-1][0] == "nobody reads it: tried again with each line"
    os.close(reader)
    file.close()


def test_a_disk_that_stands_still_costs_bounded_memory(tmp_path: Path) -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def stands_still(_reason: str | None, _lost: int) -> None:
        asked.set()
        goes_on.wait(30)

    file = LogFile(tmp_path, tell=stands_still)
    file.reopen()
    assert asked.wait(30)
    for _ in range(100):
        file.write("x" * 999_999 + "\n")
    assert sum(map(len, file._lines)) < 10_000_000
    goes_on.set()
    file.close()


def test_several_processes_tell_once(caplog: pytest.LogCaptureFixture) -> None:
    troubles, path = FileTroubles(), Path("/x")
    troubles.use(path)
    for place in range(3):
        troubles.heard(place, path, "No space left on device: make room", 0)
    assert [one.getMessage() for one in caplog.records] == ["the access log cannot be written"]
    assert troubles.alarm
    assert troubles.alarm.reason == "the access log /x cannot be written: No space left on device: make room"
    troubles.heard(0, path, None, 5)
    troubles.gone(1)
    assert len(caplog.records) == 1
    troubles.heard(2, path, None, 7)
    assert (caplog.records[-1].getMessage(), caplog.records[-1].__dict__["lost_lines"]) == (
        "the access log is written again",
        12,
    )
    assert troubles.alarm is None


def test_a_file_that_is_written_no_more_is_no_trouble() -> None:
    troubles = FileTroubles()
    for path in (Path("/x"), Path("/y"), None):
        troubles.use(path)
        troubles.heard(0, Path("/x"), "Permission denied", 0)
        assert (troubles.alarm is not None) is (path == Path("/x"))
