import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given
from hypothesis import strategies as st

from proxyd.frontend.h2.huffman import MalformedString, decoded

_ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.binary(max_size=200))
@example(bytes(range(256)))
def test_what_was_coded_is_decoded(data: bytes) -> None:
    assert decoded(_ENCODER.encode(data)) == data


@given(st.binary(max_size=40))
@example(b"\xff")  # eight bits of padding
@example(b"\xff\xff\xff\xff")  # the end of the string, inside it
@example(b"\x18")  # padding of zeros
def test_it_agrees_with_another_decoder(data: bytes) -> None:
    try:
        expected = decode_huffman(data)
    except HPACKDecodingError:
        with pytest.raises(MalformedString):
            decoded(data)
    else:
        assert decoded(data) == expected
