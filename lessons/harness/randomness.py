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
from functools import cache
from math import log2
from typing import Any

from lessons.harness.folds import Change, halves_exchanged, quick_twins, twins
from lessons.harness.near_misses import flips

__all__ = ["bits_of", "bytes_drawn", "bytes_that_count", "drawing_from", "draws_again", "flips"]

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
OURS = ("solutions", __name__)
HOLDERS = ("urandom", "_urandom", "getrandom", "RAND_bytes")  # the names that libraries use
ENOUGH = 32  # bytes; of fewer the exact number is said
LETTERS = 4  # of a byte, in any spelling
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
    Where all count, and are folded to few before they do, it is those few.
    """
    tape = Tape()
    with _at_noon(), drawing_from(tape.draw):
        first = tape.play(call)
        if tape.play(call) != first:
            return 0
        draws = tape.draws

        def by_place(every: int) -> dict[int, Any]:
            places = range(0, len(tape.drawn), every)
            return {at: tape.play(call, changed=at) for at in places}

        results = by_place(every)
        count = every * sum(each != first for each in results.values())
        if count < ENOUGH and every > 1:
            results = by_place(1)  # those between count, or do not
            count = sum(each != first for each in results.values())
        whole = [draw for draw in draws if _counts(draw, results, first)]
        longest = max(map(len, whole), default=0)

        def is_the_same(change: Change) -> bool:
            same = tape.play(call, change=change, where=whole) == first
            return same and tape.has_changed

        is_spelled = all(_is_spelled(first, results[at]) for at in results)
        likely = [halves_exchanged, *([] if is_spelled else quick_twins(longest))]
        if not any(map(is_the_same, likely)):
            return count
        left = [number for number, change in twins() if is_the_same(change)]
        return min(left, default=longest // 2)


def _counts(draw: range, results: dict[int, Any], first: Any) -> bool:
    """Tell whether all bytes of a draw count, as far as they were tried."""
    tried = [results[at] for at in draw if at in results]
    return bool(tried) and first not in tried


def _is_spelled(first: Any, other: Any) -> bool:
    """Tell whether another byte is no more than other letters at one place: nothing is computed."""
    if not (isinstance(first, str) and isinstance(other, str) and len(first) == len(other)):
        return False
    return sum(one != two for one, two in zip(first, other, strict=True)) <= LETTERS


class Tape:
    """Randomness that can be played again, also with one byte changed, or each draw."""

    def __init__(self) -> None:
        self.drawn = bytearray()
        self.draws: list[range] = []  # by the last call, each with its places
        self.has_changed = False  # whether a draw was another one
        self._position, self._changed = 0, -1
        self._change: Change | None = None
        self._where: list[range] = []

    def play(
        self,
        call: Callable[[], Any],
        changed: int = -1,
        change: Change | None = None,
        where: list[range] | None = None,
    ) -> Any:
        """Call with the randomness from its beginning; `where` are the draws to change."""
        self._position, self._changed, self._change = 0, changed, change
        self._where, self.draws, self.has_changed = where or [], [], False
        return call()

    def draw(self, size: int) -> bytes:
        """Return the next bytes; new ones, which it keeps, where there are no more."""
        start, end = self._position, self._position + size
        self._position = end
        self.drawn.extend(true_randomness(max(0, end - len(self.drawn))))
        part = bytearray(self.drawn[start:end])
        if start <= self._changed < end:
            part[self._changed - start] ^= 0b1010101
        self.draws.append(range(start, end))
        if self._change is None or self.draws[-1] not in self._where:
            return bytes(part)
        changed = self._change(bytes(part))
        self.has_changed |= changed != part
        return changed


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
    places = [*_of_libraries(len(sys.modules)), *_of_ours()]
    held = [(names, name, names[name]) for names, name in places if id(names.get(name)) in real]
    for names, name, _ in held:
        names[name] = lambda size, *flags: source(size)
    try:
        yield
    finally:
        for names, name, original in held:
            names[name] = original


@cache
def _of_libraries(_: int) -> list[tuple[dict[str, Any], str]]:
    """Return where libraries may hold a source; anew when another module was imported."""
    return [
        (vars(module), name)
        for module in filter(None, [*sys.modules.values()])  # None: one that must not be imported
        for name in HOLDERS
        if name in vars(module) and not module.__name__.startswith(OURS)
    ]


def _of_ours() -> list[tuple[dict[str, Any], str]]:
    """Return where the learner's modules may hold a source: under any name."""
    ours = [vars(sys.modules[name]) for name in sys.modules if name.startswith(OURS[0])]
    return [(names, name) for names in ours for name in names]


def _at_noon() -> Any:
    import time_machine

    return time_machine.travel(NOON, tick=False)
