"""Makes check-then-act lose every time, so that a race needs no luck.

Whoever has looked waits until everybody has looked, is done, or stands at a lock. Then all act on
what they saw. Right code looks and acts in one step, so its crowd is never all inside.

Each member of a crowd has a thread and an event loop of its own, so it may wait as threads do.
"""

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
LIMIT = 5  # seconds; an asyncio.Lock of another thread's loop never opens
PATIENCE = 1  # seconds; only for those who wait at a lock that nobody told us of


class Crowd:
    """Some threads that all do the same at once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._change = threading.Condition()
        self._there: dict[str, set[int]] = {}
        self._let_go: set[str] = set()
        self._waiting = self._holding = self._done = 0

    def gather(self, place: str = "looked") -> None:
        """Wait until nobody is left who could still come. Call it where a thread has looked."""
        with self._change:
            self._there.setdefault(place, set()).add(threading.get_ident())
            self._change.notify_all()
            self._change.wait_for(lambda: self._is_complete(place), PATIENCE)
            self._let_go.add(place)

    def follow(self, place: str = "looked") -> None:
        """Wait until another one has looked, or is done without: what comes now is in between."""
        with self._change:
            self._change.wait_for(lambda: self._there.get(place) or self._done, PATIENCE)

    @asynccontextmanager
    async def lock(self, lock: AbstractAsyncContextManager[Any]) -> AsyncIterator[None]:
        """Hold somebody's lock. Who waits for it cannot come while another one holds it."""
        self._count(waiting=+1)
        async with lock:
            self._count(waiting=-1, holding=+1)
            try:
                yield
            finally:
                self._count(holding=-1)

    @contextmanager
    def in_line(self) -> Iterator[None]:
        """Call a store's method in here: while another one holds the lock, it waits for that."""
        self._count(waiting=+1)
        try:
            yield
        finally:
            self._count(waiting=-1)

    def run(self, calls: list[Callable[[], T]]) -> list[T]:
        """Call each in a thread of its own, all at once, and return what they return."""
        never = AssertionError("It never ended. Does it wait for a lock of another event loop?")
        ended: list[T | BaseException] = [never] * len(calls)

        def one(index: int) -> None:
            try:
                ended[index] = calls[index]()
            except BaseException as error:
                ended[index] = error
            finally:
                self._count(done=+1)

        threads = [
            threading.Thread(target=one, args=(index,), daemon=True) for index in range(len(calls))
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + LIMIT
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        if error := next((each for each in ended if isinstance(each, BaseException)), None):
            raise error
        return [each for each in ended if not isinstance(each, BaseException)]

    def _count(self, waiting: int = 0, holding: int = 0, done: int = 0) -> None:
        with self._change:
            self._waiting += waiting
            self._holding += holding
            self._done += done
            self._change.notify_all()

    def _is_complete(self, place: str) -> bool:
        absent = self._done + (self._waiting if self._holding else 0)
        return place in self._let_go or len(self._there[place]) + absent >= self._size
