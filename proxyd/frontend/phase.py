"""What the next bytes of an HTTP/1.1 client are."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from proxyd.core.counters import Standing


class Phase(Enum):
    """Of one connection."""

    HEAD = auto()
    BODY = auto()
    LATER = auto()  # of the next request: this one is complete, its response is not
    TUNNEL = auto()
    NOTHING = auto()  # nobody reads them any more


#: Asked a dozen times for each request: in the class a look-up takes ten times as long.
HEAD, BODY, LATER, TUNNEL, NOTHING = Phase
#: What operators are told of it.
STANDING: Final[Mapping[Phase, Standing]] = MappingProxyType(
    {HEAD: "idle", BODY: "request", LATER: "request", TUNNEL: "tunnel", NOTHING: "closing"}
)
