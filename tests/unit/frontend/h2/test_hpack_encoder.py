import hpack
from hpack.struct import NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.field_names import HOP_BY_HOP
from proxyd.frontend.h2.hpack_encoder import SECRETS, HpackEncoder

_NAME = st.from_regex(rb"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
_VALUE = st.from_regex(rb"[!-~]([ -~\x80-\xff]{0,300}[!-~])?", fullmatch=True)
_FIELDS = st.lists(st.tuples(_NAME, _VALUE), max_size=10)


def _block(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"\r\n%b: %b" % field for field in fields)


@given(st.integers(100, 999), _FIELDS, st.integers(-2, 1 << 40))
def test_others_read_what_it_writes(status: int, fields: list[tuple[bytes, bytes]], length: int) -> None:
    encoder, decoder = HpackEncoder(), hpack.Decoder(max_header_list_size=1 << 20)
    decoder.max_allowed_table_size = decoder.header_table_size = 0  # nothing needs a table
    kept = [(name.lower(), value) for name, value in fields if name.lower() not in HOP_BY_HOP]
    expected = [(b":status", b"%d" % status), *kept]
    if length >= 0:
        expected.append((b"content-length", b"%d" % length))
    for _ in range(2):  # the second is known
        block = b"\x20" + encoder.head(status, _block(fields), length)
        assert [(bytes(a), bytes(b)) for a, b in decoder.decode(block, raw=True)] == expected
    trailers = decoder.decode(encoder.trailers(_block(fields)), raw=True)
    assert [(bytes(a), bytes(b)) for a, b in trailers] == kept


def test_what_belongs_to_a_connection_is_left_out() -> None:
    lines = b"\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nA: b"
    fields = hpack.Decoder().decode(HpackEncoder().head(200, lines))
    assert [(str(a), str(b)) for a, b in fields] == [(":status", "200"), ("a", "b")]


def test_secrets_are_never_indexed_and_not_remembered() -> None:
    encoder = HpackEncoder()
    for name in sorted(SECRETS - {b"proxy-authorization"}):
        secret = b"s3cret-of-" + name
        block = encoder.head(200, b"\r\nServer: x\r\n%b: %b" % (name, secret), 5)
        (field,) = [one for one in hpack.Decoder().decode(block, raw=True) if one[1] == secret]
        assert isinstance(field, NeverIndexedHeaderTuple)
    remembered = repr((encoder._lines, encoder._blocks))
    assert "s3cret" not in remembered
    assert "Server" in remembered


def test_what_is_remembered_is_bounded() -> None:
    encoder = HpackEncoder()
    for number in range(10_000):
        encoder.head(200, b"\r\nX-A: %d" % number, number)
    assert len(encoder._lines) <= 4096
    assert len(encoder._blocks) <= 512
