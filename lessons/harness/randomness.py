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
from math import log2, prod
from types import ModuleType
from typing import Any, Literal
from zlib import crc32

from lessons.harness.near_misses import flips

__all__ = ["bits_of", "bytes_drawn", "bytes_that_count", "drawing_from", "draws_again", "flips"]

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOLDERS = ("urandom", "_urandom", "getrandom", "RAND_bytes")  # the names that libraries use
# By what a number is folded to a small one. Powers of two leave bytes without effect, so they show.
FOLDS = (
    (2**31 - 1, 2**32 - 5, 2**61 - 1, 2**64 - 59),
    (10**9 + 7, 998_244_353, 10**18, 2**64 - 1),
)
ENOUGH = 32  # bytes; of fewer the exact number is said
ROOM = 32  # bits that a number must have more than what it is folded by, to be another one
true_randomness = os.urandom
Change = Callable[[bytes], bytes]  # of one draw
Order = Literal["big", "little"]


def bytes_drawn(call: Callable[[], Any]) -> int:
    """Count the bytes of true randomness that a call takes, in whatever thread."""
    taken: list[int] = []

    def count(size: int) -> bytes:
        taken.append(size)
        return true_randomness(size)

    with drawing_from(count):
        call()
    return sum(taken)


def bytes_that_count(call: Callable[[], Any], every: int = 1, folds: bool = True) -> int:
    """Count the drawn bytes on which the result of a call depends.

    A draw of 32 bytes of which four are used gives 4. The call runs once more for each byte, with
    that one changed, all others the same, and the clock standing still. What it leaves behind must
    not matter to the next one. For a slow call, `every` fourth byte may speak for four.
    It is 0 where the same randomness gives two results: something else decides.
    Where all count, and are folded to few before they do, it is those few; without `folds` nobody
    looks for that.
    """
    tape = Tape()
    with _at_noon(), drawing_from(tape.draw):
        first = tape.play(call)
        if tape.play(call) != first:
            return 0

        def counting(places: range) -> int:
            return sum(tape.play(call, changed=at) != first for at in places)

        def is_the_same(change: Change) -> bool:
            return tape.play(call, change=change) == first and tape.has_changed

        size = len(tape.drawn)
        count = every * counting(range(0, size, every))
        if count < ENOUGH and every > 1:
            count = counting(range(size))  # those between count, or do not
        if not folds or not count or not any(map(is_the_same, _quick_twins(max(tape.sizes)))):
            return count
        return min(left for left, change in _twins() if is_the_same(change))


@cache
def _quick_twins(size: int) -> list[Change]:
    """Return changes of a draw. The first ones see several ways to fold at once, if it is long."""
    groups: list[int] = []
    for group in FOLDS:
        all_at_once = prod(group)
        groups += [all_at_once] if _has_room(all_at_once, size) else group
    changes: list[Change] = [_to_the_rest(by, order) for by in groups for order in _orders()]
    return [*changes, _rotated(min(16, size // 2)), _same_crc]


@cache
def _twins() -> list[tuple[int, Change]]:
    """Return changes that a way to fold bytes does not see, and to how many bytes it folds them."""
    moduli = [*(each for group in FOLDS for each in group), *map(prod, FOLDS)]
    return [
        *(
            ((by.bit_length() + 7) // 8, _to_the_rest(by, order))
            for by in moduli
            for order in _orders()
        ),
        *((width, _rotated(width)) for width in (1, 2, 4, 8, 16)),
        (4, _same_crc),
    ]


def _orders() -> tuple[Order, ...]:
    return "big", "little"


def _has_room(modulus: int, size: int) -> bool:
    return modulus.bit_length() + ROOM <= 8 * size


def _to_the_rest(modulus: int, order: Order) -> Change:
    """Change a number to its rest: whoever uses the rest alone, as `% modulus`, sees no change."""

    def change(part: bytes) -> bytes:
        if not _has_room(modulus, len(part)):
            return part
        return (int.from_bytes(part, order) % modulus).to_bytes(len(part), order)

    return change


def _rotated(width: int) -> Change:
    """Move words of that many bytes: whoever adds them up, or takes `^` of them, sees no change."""
    return lambda part: part[width:] + part[:width] if width and len(part) % width == 0 else part


def _same_crc(part: bytes) -> bytes:
    """Return other bytes with the same CRC-32."""
    if len(part) <= 8:
        return part
    bits = b"workbook"[:4]
    rest = crc32(bits) ^ crc32(bytes(4))
    pattern = bits + rest.to_bytes(4, "little")
    return bytes(a ^ b for a, b in zip(part, pattern, strict=False)) + part[8:]


class Tape:
    """Randomness that can be played again, also with one byte changed, or each draw."""

    def __init__(self) -> None:
        self.drawn = bytearray()
        self.sizes: list[int] = [0]  # of the draws of the last call
        self.has_changed = False  # whether a draw was another one
        self._position, self._changed = 0, -1
        self._change: Change | None = None

    def play(self, call: Callable[[], Any], changed: int = -1, change: Change | None = None) -> Any:
        """Call with the randomness from its beginning."""
        self._position, self._changed, self._change = 0, changed, change
        self.sizes, self.has_changed = [0], False
        return call()

    def draw(self, size: int) -> bytes:
        """Return the next bytes; new ones, which it keeps, where there are no more."""
        start, end = self._position, self._position + size
        self._position = end
        self.drawn.extend(true_randomness(max(0, end - len(self.drawn))))
        part = bytearray(self.drawn[start:end])
        if start <= self._changed < end:
            part[self._changed - start] ^= 0b1010101
        self.sizes.append(size)
        if self._change is None:
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
