import pytest

from proxyd.frontend.h2.priority import urgency_of


@pytest.mark.parametrize(
    ("lines", "urgency"),
    [
        (b"", 3),
        (b"\r\npriority: u=1, i\r\nx: u=5", 1),
        (b"\r\na: b\r\npriority: i, u=7", 7),
        (b"\r\npriority: i,u=0", 0),
        (b"\r\npriority: u=2;x=1", 2),
        (b"\r\npriority: u=1, u=6", 6),
        (b"\r\npriority: u=8", 3),
        (b"\r\npriority: u=10", 3),
        (b"\r\npriority: xu=1", 3),
        (b"\r\npriority: i\r\nx: , u=5", 3),
        (b"\r\nx-priority: u=5", 3),
    ],
)
def test_urgency(lines: bytes, urgency: int) -> None:
    """RFC 9218 §4.1."""
    assert urgency_of(lines) == urgency
