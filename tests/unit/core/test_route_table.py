import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.route_table import RouteTable

TABLE = RouteTable({"/a/": "a", "/a/b": "ab", "/a/b/c/d/": "abcd", "/other": "other"})


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (b"/", None),
        (b"/x", None),
        (b"*", None),
        (b"/a", ("a", b"")),
        (b"/a?q=/a/b", ("a", b"?q=/a/b")),
        (b"/a/", ("a", b"/")),
        (b"/ab", None),
        (b"/A", None),
        (b"/a/bc?d", ("a", b"/bc?d")),
        (b"/a/b/c/", ("ab", b"/c/")),
        (b"/a/b/c/d", ("abcd", b"")),
        (b"/a/b/c/d/e/f/g", ("abcd", b"/e/f/g")),
        (b"/a/b/c/dd", ("ab", b"/c/dd")),
        (b"//a", None),
        (b"/a//b", ("a", b"//b")),
        (b"/a/../x", ("a", b"/../x")),
        (b"/%61", None),
        (b"/other/", ("other", b"/")),
    ],
)
def test_the_longest_prefix_holds(target: bytes, found: tuple[str, bytes] | None) -> None:
    assert TABLE.find(target) == found


def test_the_root_is_for_all() -> None:
    table = RouteTable({"/": 1, "/a": 2})
    assert table.find(b"/x/y?z") == (1, b"/x/y?z")
    assert table.find(b"/a/y") == (2, b"/y")
    assert table.find(b"*") == (1, b"*")


def test_an_empty_table() -> None:
    assert RouteTable({}).find(b"/a/b") is None


@given(st.lists(st.sampled_from(["a", "b", ""]), max_size=6), st.sets(st.sampled_from(["/a", "/a/b", "/b/", "/"])))
def test_it_is_the_longest_of_those_that_match(segments: list[str], prefixes: set[str]) -> None:
    path = "/" + "/".join(segments)
    fitting = [one for one in prefixes if f"{path}/".startswith(one.removesuffix("/") + "/")]
    found = RouteTable({one: one for one in prefixes}).find(path.encode())
    assert (found[0] if found else None) == max(fitting, key=len, default=None)
