"""Other draws of the same length, which a way to fold bytes does not tell from the first.

Of 32 random bytes little is left when their number is divided and only the rest is used, when they
are added up, or when a checksum is taken. Each single byte still has its effect.
"""

from collections.abc import Callable
from functools import cache
from math import prod
from typing import Literal
from zlib import crc32

Change = Callable[[bytes], bytes]  # of one draw
Order = Literal["big", "little"]
# By what a number is folded to a small one. Powers of two leave bytes without effect, so they show.
FOLDS = (
    (2**31 - 1, 2**32 - 5, 2**61 - 1, 2**64 - 59),
    (10**9 + 7, 998_244_353, 10**18, 2**64 - 1),
)
ROOM = 32  # bits that a number must have more than what it is folded by, to be another one


@cache
def quick_twins(size: int) -> list[Change]:
    """Return changes of a draw. The first ones see several ways to fold at once, if it is long."""
    groups: list[int] = []
    for group in FOLDS:
        all_at_once = prod(group)
        groups += [all_at_once] if _has_room(all_at_once, size) else group
    changes: list[Change] = [_to_the_rest(by, order) for by in groups for order in _orders()]
    return [*changes, _same_crc]


@cache
def twins() -> list[tuple[int, Change]]:
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
    return lambda part: part[width:] + part[:width] if len(part) % width == 0 else part


def halves_exchanged(part: bytes) -> bytes:
    """Change a draw so that sums and `^` of its halves stay the same."""
    half = len(part) // 2
    return part[half:] + part[:half] if len(part) % 2 == 0 else part


def _same_crc(part: bytes) -> bytes:
    """Return other bytes with the same CRC-32."""
    if len(part) <= 8:
        return part
    flipped = b"bits"  # in the first four bytes; the next four make up for it
    made_up = crc32(flipped) ^ crc32(bytes(4))
    pattern = flipped + made_up.to_bytes(4, "little")
    return bytes(a ^ b for a, b in zip(part, pattern, strict=False)) + part[8:]
