"""What may stand in no log and no output, in whatever test: looked for whenever a daemon of the tests ends."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

#: In each secret that tests send, configure or expect.
MARK = "never-in-a-log"
_NEVER = {
    "a private key": re.compile("PRIVATE KEY"),
    # RFC 8555 §8.1: a token and a thumbprint, both base64url; a signature is of the same kind.
    "a key authorization": re.compile(r"(?<![\w.-])[\w-]{43}\.[\w-]{43}(?!\.?[\w-])", re.ASCII),
    "a token of a challenge": re.compile(r"acme-challenge/[A-Za-z0-9_-]{43}"),
    "credentials of a request": re.compile(r"(?i)authorization: ?(basic|bearer)|\bcookie: "),
    "a secret of the tests": re.compile(MARK),
}
_SECRET_KEY = re.compile("(?i)secret|password|hmac_key|credentials")
_MOST_KEYS = 100


def check_hides_secrets(text: str, *, file: Path | None = None, cache: Path | None = None) -> None:
    """Fail when there is one in `text`, or one of those in a configuration file or a cache."""
    for what, pattern in _NEVER.items():
        if found := pattern.search(text):
            raise AssertionError(f"{what} was written: {text[max(0, found.start() - 200) : found.end() + 50]}")
    kept = [*_configured(file), *_keys(cache)]
    assert not [secret for secret in kept if secret in text], "a secret of the configuration or a key was written"


def _configured(file: Path | None) -> Iterator[str]:
    if file is not None and file.is_file():
        try:
            yield from _secrets(yaml.safe_load(file.read_text()), is_secret=False)
        except (yaml.YAMLError, UnicodeDecodeError):  # a test of what is wrong with a file
            return


def _secrets(data: object, *, is_secret: bool) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _secrets(value, is_secret=is_secret or _SECRET_KEY.search(str(key)) is not None)
    elif isinstance(data, list):
        for one in data:
            yield from _secrets(one, is_secret=is_secret)
    elif is_secret and isinstance(data, str) and len(data) >= 8 and not re.match(r"\$\{|file:|credential:", data):
        yield data


def _keys(cache: Path | None) -> Iterator[str]:
    """Yield a line of each private key."""
    if cache is None or not cache.is_dir():
        return
    for path in sorted(cache.iterdir())[:_MOST_KEYS]:
        if path.is_file() and not path.is_symlink():
            lines = path.read_bytes()[:4096].decode("ascii", "replace").splitlines()
            yield from (
                lines[at + 1] for at, line in enumerate(lines[:-1]) if "PRIVATE KEY" in line and "BEGIN" in line
            )
