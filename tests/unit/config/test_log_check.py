"""A file that cannot be written is said by the check, at its place; the daemon starts all the same."""

from pathlib import Path

import pytest

from proxyd.config.load import parse


def warnings(file: object) -> tuple[str, ...]:
    text = f"hosts: {{a.example.com: 80}}\nlog: {{access: {{file: {file}}}}}\n"
    assert not parse(text, "f", reads_bundles=True, serves=True).warnings
    return parse(text, "f", reads_bundles=True).warnings


def test_a_file_that_can_be_written(tmp_path: Path) -> None:
    assert warnings(tmp_path / "access.log") == ()
    assert warnings("null") == ()


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("{tmp}", "is a directory: name a file in it, like {tmp}/access.log"),
        ("{tmp}/none/a.log", "there is no directory {tmp}/none: make it for the user of the daemon"),
        ("a.log", "is looked for where the daemon is started: write the whole path, like /var/log/proxyd/a.log"),
    ],
)
def test_what_will_not_work(tmp_path: Path, file: str, says: str) -> None:
    (found,) = warnings(file.replace("{tmp}", str(tmp_path)))
    assert found.startswith("f:2:22: log.access.file: warning: ")
    assert says.replace("{tmp}", str(tmp_path)) in found
