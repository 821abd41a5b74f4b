"""Events have names that stay, and the documents list them."""

from tests.support.log_events import events, listed, table


def test_each_event_is_listed() -> None:
    assert len(events()) > 100
    assert listed() == table(), "run: python -m tests.support.log_events"
