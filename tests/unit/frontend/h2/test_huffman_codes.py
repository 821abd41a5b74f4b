from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from proxyd.frontend.h2.huffman_codes import CODES


def test_they_are_those_of_rfc_7541() -> None:
    assert list(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)) == [*CODES]
