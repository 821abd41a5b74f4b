"""The look for secrets in logs of the tests finds them."""

from pathlib import Path

import pytest
import yaml

from tests.support.certs import make_pem
from tests.support.secrets import check_hides_secrets

TOKEN = "x" * 43


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----",
        f"answer={TOKEN}.{TOKEN}",
        f"target=/.well-known/acme-challenge/{TOKEN}",
        "Authorization: Bearer abc",
        "Cookie: a=b",
        "reason=never-in-a-log",
    ],
)
def test_what_is_never_written(text: str) -> None:
    with pytest.raises(AssertionError, match="was written"):
        check_hides_secrets(f"a line\n{text}\n")


def test_secrets_of_a_daemon(tmp_path: Path) -> None:
    file, cache = tmp_path / "config.yaml", tmp_path / "cache"
    cache.mkdir()
    file.write_text(yaml.safe_dump({"acme": {"fallback": [{"eab": {"kid": "kid-1", "hmac_key": "abcdefgh"}}]}}))
    pem = make_pem("one.example.test")
    (cache / "one.example.test").write_bytes(pem)
    check_hides_secrets("kid-1 certificate issued", file=file, cache=cache)
    for text in ("the key abcdefgh", pem.decode().splitlines()[1]):
        with pytest.raises(AssertionError, match="a secret"):
            check_hides_secrets(text, file=file, cache=cache)
