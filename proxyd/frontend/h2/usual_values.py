"""What browsers say of themselves with each request: as it is coded, known again on all connections."""

from typing import Final

from proxyd.frontend.h2.field import Field, field_of
from proxyd.frontend.h2.huffman import decoded

_MOST_LEARNT, _LONGEST_LEARNT = 256, 256


class _Values(dict[bytes, Field]):
    """Of one name: what a string in HPACK's code says, read once, within a bound."""

    __slots__ = ("_name",)

    def __init__(self, name: bytes) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, coded: bytes) -> Field:
        field = field_of(self._name, decoded(coded))
        if len(coded) <= _LONGEST_LEARNT:
            if len(self) >= _MOST_LEARNT:
                self.clear()
            self[coded] = field
        return field


#: By names whose values are no secrets, and are mostly those of somebody else's request too.
USUAL_VALUES: Final = {
    name: _Values(name)
    for name in (
        *(b":authority", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"priority"),
        *(
            b"sec-ch-ua",
            b"sec-ch-ua-platform",
            b"sec-fetch-site",
            b"sec-fetch-mode",
            b"sec-fetch-dest",
            b"content-type",
        ),
        *(b"cache-control", b"pragma"),
    )
}
