"""What the next bytes of an HTTP/1.1 client are."""

from enum import Enum, auto


class Phase(Enum):
    """Of one connection."""

    HEAD = auto()
    BODY = auto()
    LATER = auto()  # of the next request: this one is complete, its response is not
    TUNNEL = auto()
    NOTHING = auto()  # nobody reads them any more


#: Asked a dozen times for each request: in the class a look-up takes ten times as long.
HEAD, BODY, LATER, TUNNEL, NOTHING = Phase
