"""Who may come in by a password: lines of NAME:HASH, as htpasswd writes them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: Of what a verification may cost, whoever wrote the file: 1 GiB of memory, seconds.
_MOST_MEMORY_KIB: Final = 1 << 20
_MOST_PASSES: Final = 64
_MOST_LANES: Final = 16
_MOST_BCRYPT: Final = 15
_LONGEST_NAME: Final = 255

_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(r"\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,9})\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{22,}")
_NAME = re.compile(r"[^:\x00-\x1f\x7f]+")
#: What others write, by its beginning.
_KINDS = {
    "$apr1$": "Apache's MD5 (apr1)",
    "$1$": "MD5 (crypt)",
    "{SHA}": "SHA-1",
    "{SSHA}": "SHA-1",
    "{PLAIN}": "not hashed",
    "$5$": "SHA-256 (crypt)",
    "$6$": "SHA-512 (crypt)",
    "$y$": "yescrypt",
    "$argon2i$": "argon2i",
    "$argon2d$": "argon2d",
}


class UserListError(ValueError):
    """The file cannot be used; the text says in which line, why, and what to do. No hash is in it."""


@dataclass(frozen=True, slots=True)
class UserList:
    """The hash of each user's password, by the name in UTF-8."""

    hashes: Mapping[bytes, str] = field(repr=False)

    @classmethod
    def parse(cls, content: bytes) -> "UserList":
        """Return who is in a file; nobody may be. Empty lines and those that begin with # say nothing.

        Raises UserListError.
        """
        try:
            lines = content.decode("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise UserListError(f"line {line}: is not UTF-8 text: save the file as UTF-8") from None
        found: dict[bytes, str] = {}
        for number, written in enumerate(lines, 1):
            text = written.strip()
            if not text or text.startswith("#"):
                continue
            name, colon, rest = text.partition(":")
            hashed = rest.partition(":")[0]  # a comment may follow
            if (trouble := (_wrong_name(name) if colon else _NO_COLON) or _wrong_hash(hashed, name)) is not None:
                raise UserListError(f"line {number}: {trouble}")
            if name.encode() in found:
                raise UserListError(f"line {number}: {name} is there twice: remove one of the lines")
            found[name.encode()] = hashed
        return cls(found)


_NO_COLON = "must be NAME:HASH: make the line with `proxyd password NAME`"


def _wrong_name(name: str) -> str | None:
    """Return what is wrong with a user's name."""
    if not _NAME.fullmatch(name):
        return "must begin with the name of a user, without colon and control characters"
    return f"a name has at most {_LONGEST_NAME} characters" if len(name) > _LONGEST_NAME else None


def check_name(name: str) -> None:
    """Raise UserListError when nobody can be called so."""
    if (trouble := _wrong_name(name)) is not None or name.startswith("#") or name != name.strip():
        raise UserListError(trouble or "a name neither begins with # nor begins or ends with white space")


def _wrong_hash(hashed: str, name: str) -> str | None:
    if found := _BCRYPT.fullmatch(hashed):
        cost = int(found[1])
        if 4 <= cost <= _MOST_BCRYPT:
            return None
        return f"a bcrypt cost of {cost} is not between 4 and {_MOST_BCRYPT}: every request of {name} would wait for it"
    if found := _ARGON2.fullmatch(hashed):
        memory, passes, lanes = (int(one) for one in found.groups())
        fits = 8 * lanes <= memory <= _MOST_MEMORY_KIB and 1 <= passes <= _MOST_PASSES and 1 <= lanes <= _MOST_LANES
        return (
            None
            if fits
            else f"the costs of argon2id (m, t, p) are out of bounds: `proxyd password {name}` has good ones"
        )
    known = next((kind for start, kind in _KINDS.items() if hashed.startswith(start)), None)
    what = (
        f"{known} is no hash for passwords any more"
        if known
        else "what is after the colon is no argon2id or bcrypt hash"
    )
    return f"{what}: make the line anew with `proxyd password {name}`"
