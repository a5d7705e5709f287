"""Counters that answer what a test tells them to, and note what they were asked."""

import asyncio
from typing import Any


class Scripted:
    """`Counters` that take their answers from a list, and say 0 when it is at its end.

    An answer that is an error is raised. Others may run before each.
    """

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.hits: list[tuple[Any, str]] = []  # limit and key
        self.cleared: list[tuple[Any, str]] = []

    async def hit(self, limit: Any, key: str) -> int:
        """Note the limit and the key, and return the next answer."""
        await asyncio.sleep(0)
        self.hits.append((limit, key))
        answer = self.answers.pop(0) if self.answers else 0
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def clear(self, limit: Any, key: str) -> None:
        """Note that a count begins anew."""
        self.cleared.append((limit, key))
