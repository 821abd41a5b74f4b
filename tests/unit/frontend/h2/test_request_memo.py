import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.request_head import RequestHead
from proxyd.core.request_scanner import MalformedRequest
from proxyd.frontend.h2.fault import StreamFault
from proxyd.frontend.h2.hpack_decoder import HpackDecoder
from proxyd.frontend.h2.request_memo import RequestMemo
from proxyd.frontend.h2.request_reader import RequestReader

_TABLE = b"\x41\x09a.example\x40\x01x\x01y"  # puts :authority, which is then the index 63, and x: y, 62, into the table
_START = b"\x82\x87\xbf"  # GET https a.example


class _Reading:
    """A connection's reader, with or without the memo."""

    def __init__(self, *, knows: bool = True, max_size: int = 10_000) -> None:
        self.decoder = HpackDecoder(max_size=max_size, max_count=50)
        self.memo = RequestMemo(self.decoder, RequestReader(max_target=200))
        self._knows = knows
        self.found = 0

    def read(self, block: bytes) -> RequestHead | str:
        if self._knows and (known := self.memo.find(block)) is not None:
            self.found += 1
            return known
        fields, limit = self.decoder.decode(block)
        if limit:
            return limit
        try:
            return self.memo.read(block, fields, ends=True)
        except (MalformedRequest, StreamFault) as error:
            return str(error)


def _paths(reading: _Reading, *paths: bytes, after: bytes = b"\xbe") -> list[RequestHead | str]:
    return [reading.read(_START + b"\x04" + bytes((len(path),)) + path + after) for path in paths]


def _primed(max_size: int = 10_000) -> _Reading:
    reading = _Reading(max_size=max_size)
    reading.decoder.decode(_TABLE)
    _paths(reading, b"/0", b"/1")  # the first one comes when the table has just changed
    return reading


def test_only_the_path_is_read_again() -> None:
    reading = _primed()
    (head,) = _paths(reading, b"/new?q=1")
    assert reading.found == 1
    assert isinstance(head, RequestHead)
    assert (head.method, head.target, head.path) == (b"GET", b"/new?q=1", b"/new?q=1")
    assert (head.authority, head.version, head.kept) == (b"a.example", 20, b"\r\nx: y")


def test_a_request_that_is_the_same_is_the_same_head() -> None:
    reading = _primed()
    heads = [reading.read(_START + b"\x84\xbe") for _ in range(3)]
    assert heads[0] is heads[1] is heads[2]
    assert reading.found == 2


def test_the_last_path_is_known_until_the_table_changes() -> None:
    reading = _primed()
    heads = _paths(reading, b"/2", b"/2", b"/3", b"/2")
    assert [one.path for one in heads if isinstance(one, RequestHead)] == [b"/2", b"/2", b"/3", b"/2"]
    assert heads[0] is heads[1]
    assert heads[0] is not heads[3]
    reading.decoder.decode(b"\x40\x01c\x01d")
    assert reading.memo.find(_START + b"\x04\x02/2\xbe") is None
    assert reading.memo._last_head is None


@pytest.mark.parametrize(
    "path", [b"", b"x", b"*", b"/a b", b"/#", b"/\x00", b"/\r\n", b" /", b"/ ", b"/" + b"a" * 200], ids=repr
)
def test_a_path_that_is_none_is_refused_as_ever(path: bytes) -> None:
    reading, other = _primed(), _Reading(knows=False)
    other.decoder.decode(_TABLE)
    said = (
        b"\x7f" + bytes((len(path) - 127 & 0x7F | 0x80, len(path) - 127 >> 7))
        if len(path) > 126
        else bytes((len(path),))
    )
    block = _START + b"\x04" + said + path + b"\xbe"
    assert reading.read(block) == other.read(block)
    assert isinstance(other.read(block), str)
    assert reading.found == 0


def test_another_path_may_be_too_much() -> None:
    size = 42 + 44 + 51 + 34 + len(":path") + 32  # what _START, x: y and a path of no length have
    reading = _primed(max_size=size + 10)
    assert [isinstance(one, RequestHead) for one in _paths(reading, b"/" + b"a" * 9, b"/" + b"a" * 10)] == [True, False]
    assert reading.found == 1


@pytest.mark.parametrize(
    "change", [b"\x40\x01c\x01d", b"\x20", b"\x3f\xe1\x1f"], ids=["a new field", "no table", "a size"]
)
def test_it_knows_nothing_when_the_table_changes(change: bytes) -> None:
    reading = _primed()
    reading.decoder.decode(change)
    assert reading.memo.find(_START + b"\x04\x02/2\xbe") is None
    assert not reading.memo._known


def test_what_else_is_literal_is_not_remembered() -> None:
    """It may be a secret that its client wants in no table (RFC 7541 §7.1.3)."""
    reading = _primed()
    _paths(reading, b"/2", b"/2", b"/2", after=b"\x10\x06cookie\x01a")
    assert reading.found == 0


def test_it_knows_few() -> None:
    reading = _Reading()
    for number in range(40):
        reading.decoder.decode(b"\x40\x02%02d\x01y" % number)
    reading.decoder.decode(_TABLE)
    for number in range(40):
        _paths(reading, b"/", b"/", after=bytes((0xC0 + number,)))
        assert len(reading.memo._known) <= 8
    assert reading.found == 39


_FIELDS = [
    ("x-a", "1"),
    ("x-a", "2"),
    ("cookie", "c=1"),
    ("user-agent", "me"),
    ("te", "trailers"),
    ("host", "a.example"),
]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.lists(st.sampled_from(_FIELDS), max_size=4, unique=True))
    )
)
def test_it_finds_what_would_be_read(requests: list[tuple[int, int, list[tuple[str, str]]]]) -> None:
    encoder, reading, other = hpack.Encoder(), _Reading(), _Reading(knows=False)
    for path, coding, fields in requests:
        start = encoder.encode([(":method", "GET"), (":scheme", "https"), (":authority", "a.example")])
        value = b"/%d" % path
        middle = encoder.encode([(":path", value)]) if not coding else bytes(((0x04, 0x14)[coding - 1], 2)) + value
        block = start + middle + encoder.encode(fields)
        assert reading.read(block) == other.read(block)
