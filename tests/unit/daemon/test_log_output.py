"""Log lines are written whole, or dropped and counted when nobody takes them."""

import fcntl
import os
import socket
import time
from pathlib import Path

from proxyd.daemon.log_output import LogOutput

LINE = b"x" * 99 + b"\n"


def test_a_reader_that_stands_still_gets_whole_lines_and_how_many_are_lost() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    output = LogOutput(writer)
    for _ in range(50):
        assert output.write(LINE) == 100
    assert os.read(reader, 65536) == LINE * 40
    output.write(LINE)
    assert os.read(reader, 65536) == b"10 lines of this log are lost: nobody read it\n" + LINE
    assert os.get_blocking(writer), "others have it too"


def test_a_reader_that_is_slow_holds_up_once() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    output, began = LogOutput(writer), time.monotonic()
    for number in range(2000):
        output.write(LINE)
        if number % 50 == 49:
            os.read(reader, 4096)
    assert time.monotonic() - began < 1.5, "40 times as long, if it waits after each that was taken"


def test_a_line_that_was_cut_ends() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    output = LogOutput(writer)
    output.write(b"y" * 5000 + b"\n" + LINE)
    assert os.read(reader, 65536) == b"y" * 4096
    output.write(LINE)
    assert os.read(reader, 65536) == b"\n2 lines of this log are lost: nobody read it\n" + LINE


def test_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with LogOutput(ours.fileno()) as output:
            for _ in range(20_000):
                output.write(LINE)
        assert theirs.recv(100) == LINE
        assert ours.getblocking()


def test_no_reader_and_a_file(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert LogOutput(writer).write(LINE) == 100
    with (tmp_path / "log").open("wb") as file:
        assert LogOutput(file.fileno()).write(LINE) == 100
    assert (tmp_path / "log").read_bytes() == LINE
