"""Addresses to listen on that exclude each other: said before a start fails by them."""

from collections.abc import Iterator

from proxyd.config.document import Location
from proxyd.config.model import ListenOptions
from proxyd.config.values import ListenAddress


def listen_clashes(listen: ListenOptions) -> Iterator[tuple[Location, str]]:
    """Yield each address that one before it excludes, with its place below `listen`."""
    taken: list[tuple[str, ListenAddress]] = []
    for key in ("https", "http"):
        for index, address in enumerate(getattr(listen, key)):
            if clash := next((one for one in taken if _exclude(one[1], address)), None):
                yield (key, index), f"{address} is taken by listen.{clash[0]} ({clash[1]}): choose another port"
            taken.append((key, address))


def _exclude(one: ListenAddress, other: ListenAddress) -> bool:
    if one.port != other.port or one.port == 0:  # 0: any that is free
        return False
    if one.host is None or other.host is None or one.host == other.host:
        return True
    is_same_family = (":" in one.host) == (":" in other.host)
    return is_same_family and bool({one.host, other.host} & {"0.0.0.0", "::"})
