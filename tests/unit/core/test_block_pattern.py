from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxyd.core.block_pattern import BlockPattern, pattern_of
from proxyd.core.request_head import RequestHead
from proxyd.core.request_scanner import MalformedRequest, RequestBlock, scan_block
from proxyd.frontend.head_reader import HeadLimits, HeadReader

Lines = tuple[bytes, ...]
MOST_LINES = 12
LIMITS = HeadLimits(size=700, fields=MOST_LINES)

NAMES = st.sampled_from(
    [
        *(b"Accept", b"Referer", b"Cookie", b"X-A", b"x-a", b"100%b", b"User-Agent", b"user-agent", b"User_Agent"),
        *(b"Host", b"Connection", b"Keep-Alive", b"TE", b"Upgrade", b"Expect", b"Content-Length", b"content_length"),
        *(b"Transfer-Encoding", b"X-Forwarded-For", b"X_Forwarded_For", b"X-Real-IP", b"Acc ept", b"", b"\xe9"),
    ]
)
VALUES = st.sampled_from(
    [
        *(b"", b" ", b" 1", b" 2", b"\t1 ", b" %b%s%%", b" a: b", b" caf\xe9", b" x" * 90, b" a.test", b" b.test:8"),
        *(b" keep-alive", b" close", b" x-a, Close", b" upgrade, Cookie", b" websocket", b" h2c", b" trailers"),
        *(b" 100-continue", b" 0", b" chunked", b" gzip, chunked", b" a\rb", b" a\nb: c", b" a\x00", b" a\r", b"\n"),
    ]
)
GOOD_VALUES = st.sampled_from([b" 1", b" 2", b"", b" %b", b" keep-alive", b" a.test", b" x-a"])
LINES = st.one_of(
    st.builds(lambda name, value: name + b":" + value, NAMES, GOOD_VALUES),
    st.builds(lambda name, value: name + b":" + value, NAMES, VALUES),
    st.sampled_from([b"", b"no colon", b" folded: 1", b"Accept", b"\tx"]),
)
START = st.lists(
    st.builds(
        lambda name, value: name + b":" + value,
        st.sampled_from([b"Accept", b"Referer", b"Cookie", b"X-A", b"User-Agent", b"Connection", b"100%b"]),
        GOOD_VALUES,
    ),
    max_size=MOST_LINES - 1,
)


RESTS = st.sampled_from([b"", b"", b"GET", b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"x\r\n\r\n"])


class Step(NamedTuple):
    """What makes a block of the one before it, at a place of it."""

    kind: str
    place: int
    line: bytes
    value: bytes


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            ["same", "value", "value", "value", "line", "name", "lengthened", "shortened", "moved", "repeated", "first"]
        ),
        st.integers(0, MOST_LINES),
        LINES,
        st.one_of(GOOD_VALUES, VALUES),
    ),
    min_size=2,
    max_size=12,
)


def after(step: Step, lines: Lines, first: Lines) -> Lines:
    if not lines:
        return (step.line,)
    place = step.place % len(lines)
    before, line, rest = lines[:place], lines[place], lines[place + 1 :]
    name, _, value = line.partition(b":")
    match step.kind:
        case "value":
            return (*before, name + b":" + step.value, *rest)
        case "line":
            return (*before, step.line, *rest)
        case "name":
            return (*before, step.line.partition(b":")[0] + b":" + value, *rest)
        case "lengthened":
            return (*before, step.line, line, *rest)
        case "shortened":
            return (*before, *rest)
        case "moved":
            return (line, *before, *rest)
        case "repeated":
            return (*before, line, *rest, line)
        case "first":
            return first
        case _:
            return lines


def read(
    reader: HeadReader, lines: Sequence[bytes], rest: bytes
) -> tuple[RequestHead, int] | tuple[str, int, str | None] | None:
    try:
        return reader.read(b"GET / HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + rest)
    except MalformedRequest as error:
        return str(error), error.status, error.limit


@settings(max_examples=600)
@given(START, STEPS, RESTS)
@example([b"Accept: 1"], [Step("value", 1, b"", b" 2"), Step("value", 1, b"", b" a\nContent-Length: 5")], b"")
@example([b"Accept: 1"], [Step("value", 1, b"", b" 2"), Step("value", 1, b"", b" a\r")], b"")
@example([b"X-A: 1", b"X-A: 1"], [Step("value", 2, b"", b" 2"), Step("value", 1, b"", b" 2")], b"")
def test_a_block_says_what_a_scan_from_nothing_says(start: list[bytes], steps: list[Step], rest: bytes) -> None:
    """On one connection, after all that came before on it; what is malformed has no part in what follows."""
    first = lines = (b"Host: a.test", *start)
    reader = HeadReader(LIMITS)
    for step in (Step("same", 0, b"", b""), *steps):
        tried = after(step, lines, first)
        found = read(reader, tried, rest)
        assert found == read(HeadReader(LIMITS), tried, rest)
        if found is not None and isinstance(found[0], RequestHead):
            lines = tried


def block_of(*lines: bytes) -> bytes:
    return b"".join(b"\r\n" + line for line in (b"Host: a.test", *lines))


def scan(block: bytes) -> tuple[RequestBlock, bytes]:
    return scan_block(block, max_count=100)


def read_by(pattern: BlockPattern, block: bytes) -> tuple[RequestBlock, bytes | None]:
    return pattern.block, pattern.read(block)


FIRST = block_of(b"Connection: keep-alive", b"Accept: 1", b"X-100%: 7", b"User-Agent: u", b"Cookie: 1")
SECOND = block_of(b"Connection: keep-alive", b"Accept: 2", b"X-100%: 7", b"User-Agent: u", b"Cookie: 2")
THIRD = block_of(b"Connection: keep-alive", b"Accept:", b"X-100%: 7", b"User-Agent: u", b"Cookie:  %b ")


def test_what_differed_may_differ_again() -> None:
    pattern = pattern_of(FIRST, SECOND, *scan(SECOND))
    assert pattern is not None
    for block in (FIRST, SECOND, THIRD):
        assert read_by(pattern, block) == scan(block)


@pytest.mark.parametrize(
    "block",
    [
        THIRD.replace(b"7", b"8"),
        THIRD.replace(b"Cookie", b"cookie"),
        THIRD.replace(b"a.test", b"b.test"),
        THIRD.replace(b"keep-alive", b"close"),
        THIRD.replace(b"keep-alive", b"cookie"),
        THIRD + b"\r\nContent-Length: 5",
        THIRD + b"\nContent-Length: 5",
        THIRD + b"\r",
        THIRD.replace(b"Accept:", b"Accept: \x00"),
        THIRD.replace(b"\r\nCookie", b"\nCookie"),
        THIRD.replace(b"\r\nAccept:", b""),
        THIRD[: THIRD.index(b"\r\nUser")],
        FIRST[: FIRST.index(b"\r\nX-")],
        b"",
    ],
)
def test_what_else_differs_does_not_fit(block: bytes) -> None:
    pattern = pattern_of(FIRST, SECOND, *scan(SECOND))
    assert pattern is not None
    assert pattern.read(block) is None


def test_what_else_differed_may_not_differ_again() -> None:
    other = SECOND.replace(b"keep-alive", b"close").replace(b": u", b": v")
    pattern = pattern_of(FIRST, other, *scan(other))
    assert pattern is not None
    assert pattern.read(FIRST) is None
    last = THIRD.replace(b"keep-alive", b"close").replace(b": u", b": v")
    assert read_by(pattern, last) == scan(last)


def test_a_pattern_widens() -> None:
    first = pattern_of(FIRST, SECOND, *scan(SECOND))
    assert first is not None
    other = THIRD.replace(b"7", b"8")
    wider = pattern_of(THIRD, other, *scan(other), first.free)
    assert wider is not None
    for block in (FIRST, SECOND, THIRD, other):
        assert read_by(wider, block) == scan(block)


@pytest.mark.parametrize(
    ("last", "lines"),
    [
        (FIRST, SECOND + b"\r\nVia: 1.1 a"),
        (FIRST, FIRST.replace(b": u", b": v")),
        (FIRST, FIRST.replace(b"keep-alive", b"close")),
        (FIRST, FIRST.replace(b"a.test", b"b.test")),
        (FIRST + b"\r\nContent-Length: 1", FIRST + b"\r\nContent-Length: 2"),
        (FIRST + b"\r\nConnection: X-A\r\nX-A: 1", FIRST + b"\r\nConnection: X-A\r\nX-A: 2"),
        (block_of(*[b"X-A: 1"] * 7), block_of(*[b"X-A: 2"] * 7)),
    ],
)
def test_others_have_no_pattern(last: bytes, lines: bytes) -> None:
    assert pattern_of(last, lines, *scan(lines)) is None
