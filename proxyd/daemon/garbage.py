"""When the garbage collector looks: not while thousands of hosts are made, for they all stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def keep_all() -> None:
    """Look at what is there now never again, and at what comes from now on as usual."""
    gc.freeze()
    gc.enable()


@contextmanager
def building() -> Iterator[None]:
    """Make what stays: a look at ten thousand hosts would stop every thread for 0.2 s, again and again.

    What is there at the end is kept too, be it needed no more: only if it is in cycles, which serving does not make.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        keep_all()
