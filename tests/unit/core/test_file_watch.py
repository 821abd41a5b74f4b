"""Files that changed are read once, when they are whole."""

from proxyd.core.file_watch import FileWatch

OLD, NEW, NEWER = {"main": 1, "more": 1}, {"main": 2, "more": 1}, {"main": 3, "more": 1}
GONE = {"more": 1}


def looks(watch: FileWatch, *states: dict[str, int], read: dict[str, int] = OLD) -> list[bool]:
    return [watch.has_changed(now, read, main="main") for now in states]


def test_what_was_read_is_not_read_again() -> None:
    assert looks(FileWatch(), OLD, OLD, OLD) == [False] * 3


def test_what_changes_still_is_waited_for() -> None:
    assert looks(FileWatch(), NEW, NEWER, NEW, NEW, NEW) == [False, False, False, True, False]


def test_what_was_refused_is_tried_again_only_when_it_changes() -> None:
    watch = FileWatch()
    assert looks(watch, NEW, NEW, NEW, NEW) == [False, True, False, False]
    assert looks(watch, NEWER, NEWER, NEWER) == [False, True, False]
    assert looks(watch, NEW, NEW, read=NEWER) == [False, True]


def test_what_is_changed_back_needs_nothing() -> None:
    assert looks(FileWatch(), NEW, OLD, NEW, OLD) == [False] * 4


def test_a_file_that_is_gone_has_some_looks_to_come_back() -> None:
    assert looks(FileWatch(), *[GONE] * 4, OLD) == [False] * 5
    assert looks(FileWatch(), *[GONE] * 4, NEW, NEW) == [False] * 5 + [True]
    assert looks(FileWatch(), *[GONE] * 8) == [False] * 5 + [True] + [False] * 2


def test_a_file_more_or_less_is_a_change() -> None:
    assert looks(FileWatch(), {"main": 1}, {"main": 1}) == [False, True]
    assert looks(FileWatch(), OLD | {"third": 1}, OLD | {"third": 1}) == [False, True]
