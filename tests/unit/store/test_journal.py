import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.store.journal import Journal
from proxyd.store.journal_reader import JournalReader
from tests.support.clock import FakeClock

HOST = Hostname("a.example")


def journal(path: Path) -> Journal:
    one = Journal(path, clock=FakeClock())
    one.open()
    return one


def event(kind: str = "order started", **fields: object) -> JournalEvent:
    return JournalEvent(at=FakeClock().now(), host=HOST, kind=kind, issuer="ca", fields=fields)


def test_events_and_states_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "+proxyd" / "journal.sqlite3"
    one = journal(path)
    assert not one.history_known
    for number in range(1200):
        one.record(event(number=number))
    one.put_state("a", {"x": 1})
    one.put_state("a", {"x": 2})
    one.put_state("b", {"x": 3})
    one.drop_state("b")
    one.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = journal(path)
    assert again.history_known
    assert again.states() == {"a": {"x": 2}}
    history = again.history(HOST, limit=2)
    assert [one.fields["number"] for one in history] == [1198, 1199]
    again.close()


@pytest.mark.parametrize("pattern", ["*", "*.apps.example.com"])
def test_what_happened_to_a_wildcard_host_can_be_read(tmp_path: Path, pattern: str) -> None:
    one = journal(tmp_path / "j")
    one.record(replace(event(), host=Hostname(pattern)))
    one.flush()
    assert [found.host for found in one.history(Hostname(pattern))] == [Hostname(pattern)]
    one.close()


def test_many_short_processes_keep_no_more_than_a_long_one(tmp_path: Path) -> None:
    for _ in range(10):
        one = journal(tmp_path / "j")
        for _ in range(300):
            one.record(event())
        one.close()
    with closing(sqlite3.connect(tmp_path / "j")) as connection:
        ((left,),) = connection.execute("SELECT count(*) FROM event")
    assert 1000 <= left <= 2000


def test_flush_makes_it_readable_for_others(tmp_path: Path) -> None:
    one, other = journal(tmp_path / "j"), journal(tmp_path / "j")
    one.record(event())
    one.put_state("a", {"x": 1})
    one.flush()
    assert len(other.history(HOST)) == 1
    assert other.states() == {"a": {"x": 1}}
    one.close()
    other.close()


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "x").write_bytes(b"")


def _with_trigger(path: Path) -> None:
    journal(path).close()
    damaged(path, "CREATE TRIGGER t BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"garbage" * 1000),
        lambda path: path.write_bytes(bytes(40_000)),
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: _directory(path),
        os.mkfifo,
        lambda path: _directory(path.with_name("j-wal")),
        lambda path: damaged(path, "CREATE TABLE event (x)"),
        lambda path: damaged(path, "CREATE TABLE event (id, at, host, kind, issuer)"),
        lambda path: damaged(path, "CREATE TABLE state (x)"),
        lambda path: damaged(path, "CREATE TABLE state (name PRIMARY KEY, document, x NOT NULL)"),
        lambda path: damaged(path, "CREATE VIEW state AS SELECT 1 AS name, '{}' AS document"),
        lambda path: damaged(path, "CREATE TABLE event_host (x)"),
        lambda path: _with_trigger(path),
    ],
    ids=[
        "garbage",
        "zeroed",
        "symlink",
        "directory",
        "fifo",
        "wal-directory",
        "events-of-others",
        "column-missing",
        "states-of-others",
        "column-more",
        "view",
        "table-for-index",
        "trigger",
    ],
)
def test_a_broken_one_is_set_aside_and_begins_anew(
    tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j"
    damage(path)  # type: ignore[operator]
    one = journal(path)
    assert not one.history_known
    one.put_state("a", {"x": 1})
    one.flush()
    assert one.states() == {"a": {"x": 1}}
    one.close()
    assert list(tmp_path.glob("j*.broken-*"))
    assert [record.message.split(":")[0] for record in caplog.records] == ["the journal is broken and is set aside"]


def test_an_empty_file_is_no_history(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"")
    one = journal(tmp_path / "j")
    assert not one.history_known
    one.close()


def test_damage_while_it_runs_is_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = journal(tmp_path / "j")
    one.put_state("a", {"x": 1})
    one.flush()
    for part in tmp_path.iterdir():
        part.write_bytes(b"garbage" * 1000)
    one.put_state("b", {"x": 2})
    one.flush()
    one.flush()
    assert one.states() == {"b": {"x": 2}}
    one.close()
    assert len(caplog.records) <= 2


def test_a_disk_that_refuses_is_said_once_and_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "place"
    one = journal(place / "j")
    one.put_state("a", {"x": 1})
    one.flush()
    place.rename(tmp_path / "away")
    place.write_bytes(b"")
    for number in range(20):
        one.record(event(number=number))
        one.put_state("a", {"x": number})
        one.flush()
    assert len(caplog.records) == 1
    place.unlink()
    (tmp_path / "away").rename(place)
    one.flush()
    assert one.states() == {"a": {"x": 19}}
    assert len(one.history(HOST)) == 20
    one.close()
    assert [record.message for record in caplog.records][1:] == ["the journal is written again"]


def test_a_flood_is_bounded_in_memory_and_on_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "place"
    one = journal(place / "j")
    place.rename(tmp_path / "away")
    place.write_bytes(b"")
    for number in range(12_000):
        one.record(event(number=number))
    one.flush()
    place.unlink()
    (tmp_path / "away").rename(place)
    one.flush()
    (said,) = [record for record in caplog.records if record.message == "the journal is written again"]
    assert vars(said)["lost_events"] == 2000  # the oldest: memory has room for 10,000
    for number in range(12_000):
        one.record(event(number=number))
        if number % 1000 == 999:
            one.flush()
    assert one.history(HOST, limit=1)[0].fields == {"number": 11_999}
    assert len(one.history(HOST, limit=100_000)) <= 3000
    one.close()
    assert sum(part.stat().st_size for part in place.iterdir()) < 8 << 20


#: As bit rot, or a hand, leaves them; the first is what one flipped bit does.
UNREADABLE = {
    "no UTF-8": "UPDATE state SET document = CAST(x'7bff7d' AS TEXT) WHERE name = 'a'",
    "a name that is no UTF-8": "UPDATE state SET name = CAST(x'61ff' AS TEXT) WHERE name = 'a'",
    "cut off": "UPDATE state SET document = '{\"x\": ' WHERE name = 'a'",
    "a list": "UPDATE state SET document = '[1]' WHERE name = 'a'",
    "deep": f"UPDATE state SET document = '{'[' * 100_000}' WHERE name = 'a'",
    "a number": "UPDATE state SET document = 1 WHERE name = 'a'",
    "bytes": "UPDATE state SET document = x'7b7d' WHERE name = 'a'",
}


@pytest.mark.parametrize("damage", UNREADABLE)
def test_a_document_that_cannot_be_read_is_lost_alone_and_the_history_is_not_known(tmp_path: Path, damage: str) -> None:
    one = journal(tmp_path / "j")
    one.put_state("a", {"x": 1})
    one.put_state("b", {"x": 1})
    one.close()
    damaged(tmp_path / "j", UNREADABLE[damage])
    for _ in range(2):  # it stays until something is kept instead
        again = journal(tmp_path / "j")
        assert not again.history_known
        assert not again.is_blank
        assert again.states() == {"b": {"x": 1}}
        again.close()
    again = journal(tmp_path / "j")
    again.forget_lost()
    again.put_state("c", {"x": 1})
    again.close()
    last = journal(tmp_path / "j")
    assert last.history_known
    assert last.states() == {"b": {"x": 1}, "c": {"x": 1}}
    last.close()
    assert not list(tmp_path.glob("*.broken-*"))


def test_the_one_document_that_cannot_be_read_is_no_blank_journal(tmp_path: Path) -> None:
    one = journal(tmp_path / "j")
    one.put_state("a", {"x": 1})
    one.close()
    damaged(tmp_path / "j", UNREADABLE["no UTF-8"])
    again = journal(tmp_path / "j")
    assert not again.is_blank
    again.close()


@pytest.mark.parametrize(
    "damage",
    [
        "at = 'garbage'",
        "at = '2026-01-01T00:00:00'",
        "at = '9999-01-01T00:00:00+00:00'",
        "at = CAST(x'ff' AS TEXT)",
        "at = 1.5",
        "kind = x'00'",
    ],
)
def test_an_event_that_cannot_be_read_is_left_out(tmp_path: Path, damage: str) -> None:
    one = journal(tmp_path / "j")
    for number in range(3):
        one.record(event(number=number))
    one.flush()
    damaged(tmp_path / "j", f"UPDATE event SET {damage} WHERE id = 2")
    for history in (one.history(HOST), JournalReader(tmp_path / "j").history(HOST)):
        assert [event.fields["number"] for event in history] == [0, 2]
    one.close()


def test_who_has_locked_it_delays_the_start_by_a_moment_and_what_was_read_is_not_all(tmp_path: Path) -> None:
    one = journal(tmp_path / "j")
    one.put_state("a", {"x": 1})
    one.close()
    with closing(sqlite3.connect(tmp_path / "j", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("INSERT INTO state VALUES ('b', '{}')")
        began = time.monotonic()
        again = journal(tmp_path / "j")
        assert time.monotonic() - began < 3
        assert (again.history_known, again.is_blank) == (False, False)
        assert "end the program that has locked it" in (again.trouble or "")
    again.put_state("c", {"x": 1})
    again.flush()
    assert again.states() == {"a": {"x": 1}, "b": {}, "c": {"x": 1}}
    assert (again.history_known, again.trouble) == (True, None)
    again.close()


def damaged(path: Path, change: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(change)


def test_the_latest_of_all_hosts_come_newest_first(tmp_path: Path) -> None:
    one = journal(tmp_path / "journal.sqlite3")
    for number, host in enumerate((HOST, Hostname("b.example"), None)):
        one.record(replace(event(number=number), host=host))
    one.flush()
    assert [(found.fields["number"], found.host) for found in one.latest(2)] == [(2, None), (1, Hostname("b.example"))]
    one.close()
