"""Events have names that stay, and the documents list them."""

from tests.support.log_events import events, field_names, listed, table


def test_each_event_is_listed() -> None:
    assert len(events()) > 100
    assert listed() == table(), "run: python -m tests.support.log_events"


def test_no_field_is_called_as_what_each_line_has() -> None:
    assert len(field_names()) > 50
    assert not field_names() & {"time", "level", "logger", "event", "message"}
