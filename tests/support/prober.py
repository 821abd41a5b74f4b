"""Who asks ten times a second, whatever else goes on, and never fails."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

_PAUSE = 0.1


@contextlib.contextmanager
def probed(ask: Callable[[], object]) -> Iterator[None]:
    """Call `ask`, which raises when it fails, ten times a second; at the end, none may have failed."""
    over, asked = threading.Event(), 0
    failures: list[BaseException] = []

    def probe() -> None:
        nonlocal asked
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            due = max(due + _PAUSE, time.monotonic())
            asked += 1
            try:
                ask()
            except BaseException as error:  # noqa: BLE001 - told below
                failures.append(error)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert asked
    assert not failures, f"{len(failures)} of {asked} failed: {failures[:3]}"
