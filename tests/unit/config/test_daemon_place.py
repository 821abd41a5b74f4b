from pathlib import Path

import pytest

from proxyd.config.daemon_place import DaemonPlace

RIGHT = "cache: /srv/cache # ours\nadmin:\n  # where\n  socket: /srv/socket\nhosts:\n  a.example.com: 8080\n"
BOTH = DaemonPlace(socket=Path("/srv/socket"), cache=Path("/srv/cache"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (RIGHT, BOTH),
        (RIGHT + "lisen: {}\n", BOTH),
        (RIGHT + "  *.example.com: 8080\n", BOTH),  # no YAML any more
        ("hosts: [\n" + RIGHT, BOTH),
        ('"cache": "/srv/cache"\nhosts: {\n', DaemonPlace(cache=Path("/srv/cache"))),
        ("cache: [1]\nadmin: 3\n", DaemonPlace()),
        ("cache: [\nadmin: {socket: 3\n", DaemonPlace()),
        ("cache: ~nobody-has-this-name/c\n", DaemonPlace()),
        ("hosts:\n  cache: /srv/cache\n  :", DaemonPlace()),
        ("", DaemonPlace()),
        ("- cache", DaemonPlace()),
    ],
)
def test_what_can_be_read(tmp_path: Path, text: str, place: DaemonPlace) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert DaemonPlace.read(file) == place


def test_nothing_to_read(tmp_path: Path) -> None:
    assert DaemonPlace.read(tmp_path) == DaemonPlace.read(tmp_path / "none") == DaemonPlace()
    (tmp_path / "binary").write_bytes(b"\xff\xfecache: /x")
    assert DaemonPlace.read(tmp_path / "binary") == DaemonPlace()
