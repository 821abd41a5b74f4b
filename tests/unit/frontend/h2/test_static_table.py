from hpack.table import HeaderTable

from proxyd.frontend.h2.static_table import STATIC


def test_it_is_the_one_of_rfc_7541() -> None:
    assert HeaderTable.STATIC_TABLE == STATIC
