import pytest

from proxyd.core.header_change import HeaderChange

BLOCK = b"\r\nAccept: */*\r\nX-User:  eve \r\nx_user: eve\r\nX.User: eve\r\nX-Users: 2\r\nx-USER:mallory"


@pytest.mark.parametrize(
    ("change", "block"),
    [
        (HeaderChange({}), BLOCK),
        (HeaderChange({}, ["x-user"]), b"\r\nAccept: */*\r\nx_user: eve\r\nX.User: eve\r\nX-Users: 2"),
        (HeaderChange({}, ["X-User"], aliases=True), b"\r\nAccept: */*\r\nX-Users: 2"),
        (HeaderChange({"X-USER": "bob"}, aliases=True), b"\r\nAccept: */*\r\nX-Users: 2\r\nX-USER: bob"),
        (
            HeaderChange({"X": "1", "Y": "ü"}, ["Accept"]),
            BLOCK.replace(b"\r\nAccept: */*", b"") + b"\r\nX: 1\r\nY: \xc3\xbc",
        ),
    ],
)
def test_fields_are_set_and_removed_whatever_their_spelling(change: HeaderChange, block: bytes) -> None:
    assert change.applied(BLOCK) == block


def test_a_block_without_lines() -> None:
    assert HeaderChange({"X": "1"}, ["Y"]).applied(b"") == b"\r\nX: 1"
    assert HeaderChange({}, ["Y"]).applied(b"") == b""
    assert HeaderChange({}, ["Y"]).applied(b"\r\nY: 1") == b""


def test_whether_there_is_anything_to_change() -> None:
    assert not HeaderChange({})
    assert HeaderChange({"X": ""})
    assert HeaderChange({}, ["X"])
