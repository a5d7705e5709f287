"""Which connection a task's transaction has, so that its statements find it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

C = TypeVar("C")


class Held(Generic[C]):
    """The connection of the transaction that is under way in this task, if any.

    A task that was started in the block has it as well, but not after the block's end.
    """

    def __init__(self) -> None:
        self._place: ContextVar[list[C] | None] = ContextVar("held", default=None)

    def get(self) -> C | None:
        """Return the connection, or None outside of a transaction."""
        place = self._place.get()
        return place[0] if place else None

    @contextmanager
    def by(self, connection: C) -> Iterator[None]:
        """Hold a connection until the block ends."""
        place = [connection]
        before = self._place.set(place)
        try:
            yield
        finally:
            place.clear()  # also for the tasks that the block has left behind
            self._place.reset(before)
