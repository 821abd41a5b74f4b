"""The file of users: what is taken, and what is refused in which words."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.user_list import UserList, UserListError, check_name

BCRYPT = "$2y$05$" + "a" * 53
ARGON2 = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$" + "A" * 43


def test_lines_as_htpasswd_and_we_write_them() -> None:
    text = f"# people\n\nalice:{ARGON2}\r\n  bob:{BCRYPT}:a comment\nJörg Müller:{BCRYPT.replace('2y', '2b')}\n"
    users = UserList.parse(text.encode())
    assert [*users.hashes] == [b"alice", b"bob", "Jörg Müller".encode()]
    assert users.hashes[b"bob"] == BCRYPT
    assert ARGON2 not in repr(users)
    assert not UserList.parse(b"").hashes


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("alice", "must be NAME:HASH: make the line with `proxyd password NAME`"),
        (":" + BCRYPT, "must begin with the name of a user"),
        ("a:$apr1$x$7jPq0V7h1Z8YzJwS0yT0b/", "Apache's MD5 (apr1) is no hash for passwords any more: make the line"),
        ("a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1 is no hash"),
        ("a:hunter2hunter2", "what is after the colon is no argon2id or bcrypt hash: make the line anew with"),
        ("a:", "what is after the colon is no argon2id or bcrypt hash"),
        ("a:" + BCRYPT[:-1], "no argon2id or bcrypt hash"),
        ("a:" + BCRYPT.replace("$05$", "$31$"), "a bcrypt cost of 31 is not between 4 and 15"),
        ("a:" + ARGON2.replace("argon2id", "argon2i"), "argon2i is no hash"),
        ("a:" + ARGON2.replace("m=19456", "m=99999999"), "the costs of argon2id (m, t, p) are out of bounds"),
        ("a:" + ARGON2.replace("t=2", "t=0"), "out of bounds"),
        (f"a:{BCRYPT}\nx:{BCRYPT}\na:{BCRYPT}", "line 4: a is there twice"),
        ("x" * 256 + ":" + BCRYPT, "a name has at most 255 characters"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_never_shown(line: str, what: str) -> None:
    with pytest.raises(UserListError) as caught:
        UserList.parse(f"# first\n{line}\n".encode())
    assert what in str(caught.value)
    assert str(caught.value).startswith("line ")
    secret = line.partition(":")[2].partition("\n")[0]
    assert not secret or secret not in str(caught.value)


def test_another_encoding_is_named() -> None:
    with pytest.raises(UserListError, match="line 2: is not UTF-8 text"):
        UserList.parse(b"# x\nJ\xf6rg:" + BCRYPT.encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused(content: bytes) -> None:
    with contextlib.suppress(UserListError):
        UserList.parse(content)


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "#a", " a", "a ", "x" * 256])
def test_nobody_can_be_called_so(name: str) -> None:
    with pytest.raises(UserListError):
        check_name(name)
