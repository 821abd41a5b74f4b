"""Where `forward_auth` asks."""

import pytest

from proxyd.config.auth_url import AuthUrl


@pytest.mark.parametrize(
    ("written", "address", "target", "shown"),
    [
        ("http://127.0.0.1:9091/a/b?token=x", "http://127.0.0.1:9091", "/a/b?token=x", "http://127.0.0.1:9091/a/b"),
        ("https://auth.example.com", "https://auth.example.com:443", "/", "https://auth.example.com:443/"),
        ("http://[::1]:80/?x", "http://[::1]:80", "/?x", "http://[::1]:80/"),
        ("http://a?x", "http://a:80", "/?x", "http://a:80/"),
        ("unix:/run/a.sock", "unix:/run/a.sock", "/", "unix:/run/a.sock:/"),
        ("unix:/run/a.sock:/v?x", "unix:/run/a.sock", "/v?x", "unix:/run/a.sock:/v"),
    ],
)
def test_what_is_taken(written: str, address: str, target: str, shown: str) -> None:
    found = AuthUrl.parse(written)
    assert (str(found.address), found.target, str(found)) == (address, target, shown)
    assert AuthUrl.parse(found) is found


@pytest.mark.parametrize(
    "written",
    [
        *(
            "",
            "auth",
            "auth:9091/x",
            "ftp://a/",
            "http:///x",
            "http://a:0/",
            "http://a:x/",
            "http://u:p@a/",
            "http://a/#x",
        ),
        *(
            "http://a/b c",
            "http://a/\r\nX: y",
            "http://ä/",
            "unix:a.sock",
            "unix:/a.sock:x",
            "unix:/a.sock:/x#y",
            "unix:",
            9091,
            None,
            ["http://a"],
        ),
    ],
)
def test_what_is_not(written: object) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        AuthUrl.parse(written)
    assert "p@" not in str(caught.value)
