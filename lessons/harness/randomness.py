"""Whether a secret comes from true randomness: from enough of it, and whether all of it counts.

Length says nothing. A token of 43 letters may come from the clock, from `random`, or from the
token before. So the sources are watched, wound back, and played again.
"""

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import log2
from types import ModuleType
from typing import Any

from lessons.harness.near_misses import flips

__all__ = ["bits_of", "bytes_drawn", "bytes_that_count", "drawing_from", "draws_again", "flips"]

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOLDERS = ("urandom", "_urandom", "getrandom", "RAND_bytes")  # the names that libraries use
true_randomness = os.urandom


def bytes_drawn(call: Callable[[], Any]) -> int:
    """Count the bytes of true randomness that a call takes, in whatever thread."""
    taken: list[int] = []

    def count(size: int) -> bytes:
        taken.append(size)
        return true_randomness(size)

    with drawing_from(count):
        call()
    return sum(taken)


def bytes_that_count(call: Callable[[], Any], every: int = 1) -> int:
    """Count the drawn bytes on which the result of a call depends.

    A draw of 32 bytes of which four are used gives 4. The call runs once more for each byte, with
    that one changed, all others the same, and the clock standing still. What it leaves behind must
    not matter to the next one. For a slow call, `every` fourth byte may speak for four.
    It is 0 where the same randomness gives two results: something else decides.
    """
    tape = Tape()
    with _at_noon(), drawing_from(tape.draw):
        first = tape.play(call)
        if tape.play(call) != first:
            return 0
        tried = range(0, len(tape.drawn), every)
        return every * sum(tape.play(call, changed=at) != first for at in tried)


class Tape:
    """Randomness that can be played again, also with one byte changed."""

    def __init__(self) -> None:
        self.drawn = bytearray()
        self._position, self._changed = 0, -1

    def play(self, call: Callable[[], Any], changed: int = -1) -> Any:
        """Call with the randomness from its beginning."""
        self._position, self._changed = 0, changed
        return call()

    def draw(self, size: int) -> bytes:
        """Return the next bytes; new ones, which it keeps, where there are no more."""
        start, end = self._position, self._position + size
        self._position = end
        self.drawn.extend(true_randomness(max(0, end - len(self.drawn))))
        part = bytearray(self.drawn[start:end])
        if start <= self._changed < end:
            part[self._changed - start] ^= 0b1010101
        return bytes(part)


def draws_again(call: Callable[[], Any], times: int = 16) -> bool:
    """Tell whether a value comes again when the clock and `random.seed` are the same again."""
    rounds = []
    before = random.getstate()
    try:
        for _ in range(2):
            random.seed(7)
            with _at_noon():
                rounds.append({repr(call()) for _ in range(times)})
    finally:
        random.setstate(before)
    return bool(rounds[0] & rounds[1])


def bits_of(values: list[str]) -> float:
    """Return how many random bits each value has at most, judged by what varies where.

    Give some 128 values. A place where all have the same letter has none, and a place that repeats
    another one counts once.
    """
    width = max(map(len, values))
    places = {tuple(value[at : at + 1] for value in values) for at in range(width)}
    kinds = [set(place) for place in places if len(set(place)) > 1]
    alphabet = len(set().union(*kinds) - {""})
    # If few kinds come, each often, there are no more. Of many, one may not have come yet.
    few = len(values) // 16
    return sum(log2(len(each) if len(each) <= few else alphabet) for each in kinds)


@contextmanager
def drawing_from(source: Callable[[int], bytes]) -> Iterator[None]:
    """Let all that takes true randomness take it from `source`: `secrets`, `uuid4`, gensalt."""
    real = {id(true_randomness), id(getattr(os, "getrandom", true_randomness))}
    real.add(id(getattr(sys.modules.get("ssl"), "RAND_bytes", true_randomness)))
    held = [
        (vars(module), name, vars(module)[name])
        for module in filter(None, [*sys.modules.values()])  # None: one that must not be imported
        for name in _names(module)
        if id(vars(module)[name]) in real and module is not sys.modules[__name__]
    ]
    for names, name, _ in held:
        names[name] = lambda size, *flags: source(size)
    try:
        yield
    finally:
        for names, name, original in held:
            names[name] = original


def _names(module: ModuleType) -> list[str]:
    """Return under which names a module may hold a source; the learner's under any."""
    is_ours = getattr(module, "__name__", "").startswith("solutions")
    return list(vars(module)) if is_ours else [name for name in HOLDERS if name in vars(module)]


def _at_noon() -> Any:
    import time_machine

    return time_machine.travel(NOON, tick=False)
