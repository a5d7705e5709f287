"""How the stores in memory keep one step from meeting another.

A `threading.Lock`, tried and never waited for: the tasks of several event loops share a store, and
an `asyncio.Lock` belongs to one loop.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

_held: ContextVar[frozenset["OneAtATime"]] = ContextVar("_held", default=frozenset())


class OneAtATime:
    """Lets one task in at a time. Whoever is in may enter again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def is_mine(self) -> bool:
        """Whether this task is in."""
        return self in _held.get()

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Be the only one until the block ends. The block must not wait for anything slow."""
        if self.is_mine:
            yield
            return
        while not self._lock.acquire(blocking=False):  # noqa: ASYNC110
            await asyncio.sleep(0)  # not an Event: that belongs to one loop
        before = _held.set(_held.get() | {self})
        try:
            yield
        finally:
            _held.reset(before)
            self._lock.release()
