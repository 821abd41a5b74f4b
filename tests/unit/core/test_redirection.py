import pytest

from proxyd.core.redirection import Redirection, https_location


@pytest.mark.parametrize(
    ("to", "rest", "location"),
    [
        ("https://new.example", b"/a?b", b"https://new.example/a?b"),
        ("https://new.example/", b"/a?b", b"https://new.example/a?b"),
        ("https://new.example/x/", b"/a", b"https://new.example/x/a"),
        ("https://new.example/x", b"", b"https://new.example/x"),
        ("https://new.example/x/", b"?q", b"https://new.example/x/?q"),
        ("/new/", b"/a//b?c", b"https://h:8443/new/a//b?c"),
        ("/new/", b"", b"https://h:8443/new/"),
        ("/", b"//evil.example", b"https://h:8443//evil.example"),  # never //evil.example
        ("/", b"/\\evil.example", b"https://h:8443/%5Cevil.example"),
        ("https://new.example", b"/<\"'>\xff", b"https://new.example/%3C%22'%3E%FF"),
        ("https://new.example", b"*", b"https://new.example"),
    ],
)
def test_where_clients_are_sent(to: str, rest: bytes, location: bytes) -> None:
    assert Redirection(to).location(b"h:8443", rest) == location


def test_a_path_that_is_not_kept() -> None:
    assert Redirection("https://new.example/?from=old", 302, False).location(b"h", b"/a?b") == (
        b"https://new.example/?from=old"
    )


def test_the_same_by_https() -> None:
    assert https_location("h:8443", b"*") == b"https://h:8443/"
    assert https_location("h", b"//evil.example/%0d?x#") == b"https://h//evil.example/%0d?x#"
