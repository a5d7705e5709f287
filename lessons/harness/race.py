"""Makes check-then-act lose every time, so that a race needs no luck.

Whoever has looked waits until everybody has looked, is done, or stands at a lock. Then all act on
what they saw. Right code looks and acts in one step, so its crowd is never all inside.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 2  # seconds; only for a crowd that waits for something unforeseen


class Crowd:
    """Some threads that all do the same at once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._change = threading.Condition()
        self._here: set[int] = set()
        self._out = 0  # done, or waiting for somebody's lock
        self._let_go = False

    def gather(self) -> None:
        """Wait until nobody is left who could still come. Call it where a thread has looked."""
        with self._change:
            self._here.add(threading.get_ident())
            self._look()
            self._change.wait_for(lambda: self._let_go, PATIENCE)

    @contextmanager
    def at_a_lock(self) -> Iterator[None]:
        """Mark the time in which a thread waits for a lock: it cannot come to the others."""
        self._move(+1)
        try:
            yield
        finally:
            self._move(-1)

    def run(self, calls: list[Callable[[], T]]) -> list[T]:
        """Call each in a thread of its own, all at once, and return what they return."""
        ended: list[T | BaseException] = [AssertionError("It never ended.")] * len(calls)

        def one(index: int) -> None:
            try:
                ended[index] = calls[index]()
            except BaseException as error:
                ended[index] = error
            finally:
                self._move(+1)

        threads = [threading.Thread(target=one, args=(index,)) for index in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if error := next((each for each in ended if isinstance(each, BaseException)), None):
            raise error
        return [each for each in ended if not isinstance(each, BaseException)]

    def _move(self, step: int) -> None:
        with self._change:
            self._out += step
            self._look()

    def _look(self) -> None:
        if len(self._here) + self._out >= self._size:
            self._let_go = True
            self._change.notify_all()
