"""When the garbage collector looks: not while thousands of hosts are made, for they all stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def keep_all() -> None:
    """Look at what is there now never again, and at what comes from now on as usual."""
    gc.freeze()
    gc.enable()


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect nothing meanwhile: each look at all that was just made would stop every thread for 0.2 s."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
