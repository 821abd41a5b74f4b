"""Connections that came and are not served yet: each has a task until it is."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Arriving:
    """Their tasks live in the given group, and know their own deadlines."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._group = tasks
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Have a connection taken on its way."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cut(self) -> None:
        """Give up all that are still on their way."""
        for task in self._tasks:
            task.cancel()
