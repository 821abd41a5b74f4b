"""Lines of several processes share a pipe and stay whole."""

import os
import subprocess
import sys

import pytest

from proxyd.daemon.logs import write_lines
from tests.support.daemon import ROOT

_LINES = [f"{letter * length}\n" for letter in "abc" for length in (10, 700, 4095)]


@pytest.mark.parametrize("lines", [[], ["one\n"], _LINES, _LINES * 20, ["x" * 10_000 + "\n", "y\n"]])
def test_everything_is_written_as_it_is(lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write_lines("".join(lines))
    assert capsys.readouterr().err == "".join(lines)


_WRITES = """
import sys
from proxyd.daemon.logs import write_lines
for _ in range(100):
    write_lines(f"{sys.argv[1] * 299}\\n" * 256)
"""


def test_lines_of_two_processes_stay_whole() -> None:
    reads, writes = os.pipe()
    children = [subprocess.Popen([sys.executable, "-c", _WRITES, letter], cwd=ROOT, stderr=writes) for letter in "ab"]
    os.close(writes)
    with os.fdopen(reads) as file:
        lines = file.read().splitlines()
    assert [child.wait() for child in children] == [0, 0]
    assert len(lines) == 2 * 100 * 256
    assert set(lines) == {"a" * 299, "b" * 299}
