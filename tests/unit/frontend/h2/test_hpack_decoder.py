import hpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM
from proxyd.frontend.h2.hpack_decoder import HpackDecoder

_NAMES = st.sampled_from([b":path", b"cookie", b"accept", b"x-a", b"x-b", b"x" * 60]) | st.binary(
    min_size=1, max_size=20
)
_LISTS = st.lists(st.tuples(_NAMES, st.binary(max_size=60)), max_size=12)


def _decoder() -> HpackDecoder:
    return HpackDecoder(max_size=1 << 20, max_count=1 << 20)


def _read(decoder: HpackDecoder, block: bytes) -> list[tuple[bytes, bytes]]:
    fields, limit = decoder.decode(block)
    assert limit is None
    return [(one.name, one.value) for one in fields]


def test_the_examples_of_the_rfc() -> None:
    """RFC 7541 appendix C.4: requests with Huffman coding, on one connection."""
    decoder = _decoder()
    blocks = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ]
    start = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
    read = [_read(decoder, bytes.fromhex(block)) for block in blocks]
    assert read[0] == start
    assert read[1] == [*start, (b"cache-control", b"no-cache")]
    assert read[2][1:] == [
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ]
    assert decoder.size == 164


@given(st.lists(_LISTS, max_size=8), st.booleans())
def test_it_reads_what_another_encoder_writes(lists: list[list[tuple[bytes, bytes]]], huffman: bool) -> None:
    encoder, decoder = hpack.Encoder(), _decoder()
    for place, fields in enumerate(lists):
        if place == 3:
            encoder.header_table_size = 100
        if place == 5:
            encoder.header_table_size = 4096
        assert _read(decoder, encoder.encode(fields, huffman=huffman)) == fields


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
@example([b"\x80"])
@example([b"\xbe"])
@example([b"\x82\x20"])
@example([b"\x3f\xe2\x1f"])
@example([b"\x40"])
@example([b"\x00\x81\xff"])
@example([b"\xff\xff\xff\xff\xff\x0f"])
@settings(max_examples=300)
def test_it_agrees_with_another_decoder_on_anything(blocks: list[bytes]) -> None:
    theirs = hpack.Decoder(max_header_list_size=1 << 20)
    ours = _decoder()
    for block in blocks:
        try:
            expected = theirs.decode(block, raw=True)
        except hpack.HPACKError:
            with pytest.raises(ConnectionFault) as raised:
                ours.decode(block)
            assert raised.value.code == COMPRESSION_ERROR
            return
        assert _read(ours, block) == [(bytes(name), bytes(value)) for name, value in expected]
        assert ours.size == theirs.header_table._current_size


def test_lists_have_a_limit() -> None:
    decoder = HpackDecoder(max_size=200, max_count=3)
    encoder = hpack.Encoder()
    assert decoder.decode(encoder.encode([("a", "b")] * 3))[1] is None
    fields, limit = decoder.decode(encoder.encode([("a", "b")] * 4))
    assert (len(fields), limit) == (4, "max_header_count")
    fields, limit = decoder.decode(encoder.encode([("a", "b" * 100), ("c", "d" * 100), ("e", "f")]))
    assert limit == "max_header"
    assert [one.name for one in fields] == [b"a", b"c", b"e"]
    assert [one.value for one in decoder.decode(b"\xbf")[0]] == [b"d" * 100]
    with pytest.raises(ConnectionFault) as raised:
        decoder.decode(encoder.encode([("x", "y" * 4000)]))
    assert (raised.value.code, raised.value.limit) == (ENHANCE_YOUR_CALM, "http2_header_list")


def test_fields_are_counted_as_header_lines_are() -> None:
    """RFC 9113 §8.2.3: browsers send a field for each cookie, and of HTTP/1.1 it is one line, as Host is."""
    decoder, encoder = HpackDecoder(max_size=16_384, max_count=3), hpack.Encoder()
    start = [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/")]
    cookies = [("cookie", f"c{number}=1") for number in range(50)]
    assert decoder.decode(encoder.encode([*start, ("a", "b"), *cookies]))[1] is None
    assert decoder.decode(encoder.encode([*start, ("a", "b"), ("c", "d"), *cookies]))[1] == "max_header_count"


def test_a_change_of_the_table_is_told() -> None:
    decoder = _decoder()
    told = []
    for block in (b"\x82\x10\x06cookie\x01a", b"\x40\x01a\x01b", b"\x82\xbe", b"\x20\x82", b"\x82"):
        decoder.decode(block)
        told.append(decoder.changes)
    assert told == [0, 1, 1, 2, 2]
