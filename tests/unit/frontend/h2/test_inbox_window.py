import pytest

from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.frames import FLOW_CONTROL_ERROR, window_update
from proxyd.frontend.h2.inbox_window import InboxWindow


def test_it_opens_when_that_is_worth_a_frame() -> None:
    sent: list[bytes] = []
    window = InboxWindow(100_000, sent.append)
    assert window.first() == window_update(0, 100_000 - 65_535)
    window.fill(100_000)
    window.give(24_999)
    assert sent == []
    window.give(1)
    assert sent == [window_update(0, 25_000)]
    window.fill(25_000)
    with pytest.raises(ConnectionFault) as raised:
        window.fill(1)
    assert raised.value.code == FLOW_CONTROL_ERROR


def test_the_usual_size_needs_no_word() -> None:
    assert InboxWindow(65_535, lambda _: None).first() == b""
