"""Counters that answer what a test tells them to, and note what they were asked."""

import asyncio
from typing import Any


class Scripted:
    """`Counters` that take their answers from a list, and say 0 when it is at its end.

    An answer that is an error is raised. Others may run before each. With `waits_at` that hit,
    the first is 1, has no answer until it `may_go_on`. Or it `was_ended`.
    """

    def __init__(self, *answers: int | Exception, waits_at: int = 0) -> None:
        self.answers, self._waits_at = list(answers), waits_at
        self.is_waiting, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.was_ended = False
        self.hits: list[tuple[Any, str]] = []  # limit and key
        self.cleared: list[tuple[Any, str]] = []

    async def hit(self, limit: Any, key: str) -> int:
        """Note the limit and the key, and return the next answer."""
        await asyncio.sleep(0)
        self.hits.append((limit, key))
        if len(self.hits) == self._waits_at:
            self.is_waiting.set()
            try:
                await self.may_go_on.wait()
            except asyncio.CancelledError:
                self.was_ended = True
                raise
        answer = self.answers.pop(0) if self.answers else 0
        try:
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            del answer  # an error has this frame, and all that led here would live on with it

    async def clear(self, limit: Any, key: str) -> None:
        """Note that a count begins anew."""
        self.cleared.append((limit, key))
