"""Entries arrive whole, whatever is in them; a journal that takes none holds nobody up."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from proxyd.daemon.journal_socket import JournalSocket, is_there
from tests.support.journal import Journal


@pytest.mark.parametrize("value", ["a", "", "a=b", "two\nlines\n", "ä…", "\udcff", "x" * 1_000_000, "y\n" * 1_000_000])
def test_an_entry(tmp_path: Path, value: str) -> None:
    with Journal(tmp_path / "socket") as journal, closing(JournalSocket(journal.path)) as socket:
        assert socket.send({"MESSAGE": value, "PRIORITY": "6"})
        assert journal.entry() == {"MESSAGE": value.replace("\udcff", "\\udcff"), "PRIORITY": "6"}


def test_a_journal_that_stands_still_loses_entries_and_hears_how_many(tmp_path: Path) -> None:
    with Journal(tmp_path / "socket") as journal, closing(JournalSocket(journal.path)) as socket:
        began = time.monotonic()
        for number in range(5000):
            assert socket.send({"MESSAGE": str(number)})
        assert time.monotonic() - began < 10, "it waits once"
        found = [journal.entry()]
        journal.socket.setblocking(False)
        while True:
            try:
                found.append(journal.entry())
            except BlockingIOError:
                break
        assert [one["MESSAGE"] for one in found] == [str(number) for number in range(len(found))]
        assert socket.send({"MESSAGE": "again"})
        lost = journal.entry()
        assert (lost["PROXYD_LINES"], lost["PRIORITY"]) == (str(5000 - len(found)), "4")
        assert journal.entry() == {"MESSAGE": "again"}


def test_a_journal_that_is_slow_holds_up_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "socket") as journal, closing(JournalSocket(journal.path)) as socket:
        began, taken = time.monotonic(), 0
        for number in range(2000):
            socket.send({"MESSAGE": str(number)})
            if number % 50 == 49:
                journal.entry()
                taken += 1
        assert taken == 40
        assert time.monotonic() - began < 1.5, "40 times as long, if it waits after each that was taken"


def test_no_journal(tmp_path: Path) -> None:
    assert not is_there(tmp_path / "none")
    assert not is_there(tmp_path)
    with closing(JournalSocket(tmp_path / "socket")) as socket:
        assert not socket.send({"MESSAGE": "nobody listens yet"})
        with Journal(tmp_path / "socket") as journal:
            assert is_there(journal.path)
            assert socket.send({"MESSAGE": "a"})
        assert not socket.send({"MESSAGE": "nobody listens any more"})
