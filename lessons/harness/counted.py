"""Names and places, the keys by which they are counted, and what these can tell apart."""

import asyncio
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from itertools import combinations, zip_longest
from math import log2
from random import Random
from types import CodeType, FunctionType, ModuleType
from typing import Any

from lessons.harness.scripted import Scripted

Attempt = tuple[str, Any]  # a name, and an address
Counted = tuple[str, list[tuple[Any, str]]]  # the key of an attempt, and what was counted
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_.-"
SIGNS = ("", ".", "_", "-")  # that a name may have
LONGEST = 32  # letters of a name
SAMPLES = 128
NAME = re.compile(r"[A-Za-z0-9_.-]{3,32}")
WORDS = ("invalid", "impossible", "unknown", "anonymous", "none", "null", "nobody", "bad", "other")
WORDS += ("empty", "error", "guest", "user", "name", "no-name", "no_name", "not-a-name", "illegal")
WORDS += (
    "invalid-name",
    "invalid_name",
    "bad_name",
    "impossible_name",
    "impossible-name",
    "no.name",
)
WORDS += ("unknown-name", "unknown_user", "invalid_user", "undefined", "default", "missing", "nil")
HOME, ALICE = IPv4Address("203.0.113.7"), "alice"


async def keys_of(begin: Callable[..., Any], attempts: Iterable[Attempt]) -> list[tuple[str, ...]]:
    """Return by which keys each attempt is counted: of the pair, of the address, of the name."""
    counted = await counts_of(begin, attempts)
    return [tuple(key for _, key in hits) for _, hits in counted]


async def counts_of(begin: Callable[..., Any], attempts: Iterable[Attempt]) -> list[Counted]:
    """Return what each attempt gets, and by which limits and keys it is counted.

    All at once, so that they share the turns of the loop.
    """

    async def count(attempt: Attempt) -> Counted:
        counters = Scripted()
        return await begin(counters, *attempt), counters.hits

    return await asyncio.gather(*map(count, attempts))


def bits_in(texts: Iterable[str]) -> float:
    """Return how many bits such texts have at most, by what was seen at each place in them."""
    columns = zip_longest(*(text.encode("utf-8", "surrogatepass") for text in texts))
    return sum(log2(len(set(column))) for column in columns)


def chance_names() -> list[str]:
    """Return long names, as chance has them."""
    chance = Random(10)  # noqa: S311
    return ["".join(chance.choices(LETTERS, k=LONGEST)) for _ in range(SAMPLES)]


def chance_places() -> list[IPv6Address]:
    """Return addresses, each on a line of its own, as chance has them."""
    chance = Random(10)  # noqa: S311
    return [IPv6Address(chance.getrandbits(64) << 64 | 1) for _ in range(SAMPLES)]


def close_names() -> list[str]:
    """Return names that differ in one letter, and those in which two have changed places."""
    chance = Random(11)  # noqa: S311
    name = "".join(chance.sample(LETTERS, LONGEST))
    found = [name, *(name[:size] for size in range(3, LONGEST))]
    for at in range(LONGEST):
        found += [name[:at] + letter + name[at + 1 :] for letter in "x7_.-" if letter != name[at]]
    for at in range(LONGEST - 1):
        found.append(name[:at] + name[at + 1] + name[at] + name[at + 2 :])
    return list(dict.fromkeys(found))


def close_places() -> list[IPv4Address | IPv6Address]:
    """Return addresses that differ in one bit of what is a place."""
    line = int(IPv6Address("2001:db8:1234:5678::1"))
    found: list[IPv4Address | IPv6Address] = [HOME, IPv6Address(line)]
    found += [IPv4Address(int(HOME) ^ 1 << bit) for bit in range(32)]
    return found + [IPv6Address(line ^ 1 << bit) for bit in range(64, 128)]


def alike() -> list[Attempt]:
    """Return attempts that differ in nothing but their signs, and where these stand.

    Whoever leaves out a colon or a dot, or writes another one for it, makes one of two.
    """
    found = [(name, HOME) for name in _names_alike()]
    found += [(ALICE, place) for text in ("12112", "1211264") for place in _places_of(text)]
    for size in range(4):  # letters of the place that the name may have as well
        digits, rest = "12112"[:size], "1211212112"[size : size + 5]
        for place in _places_of(rest):
            found += [("ivy" + sign + digits, place) for sign in SIGNS]
            found.append((rest[-1] * size + "ivy", place))
    for size in range(4):
        groups = ["1", "2", "1", "12"]
        place = IPv6Address(":".join(groups[size:]) + "::") if size else IPv6Address("1:2:1:12::")
        found += [(sign.join(["ivy", *groups[:size]]), place) for sign in SIGNS]
    return list(dict.fromkeys([*found, *_run_together()]))


def possible_names(module: ModuleType) -> set[str]:
    """Return the texts in a module's code that somebody may have for a name, and usual words."""
    framed = {f"{sign}{word}{sign}" for word in WORDS for sign in ("_", "__")}
    found = {*WORDS, *framed, *(sign * size for sign in "-._0" for size in (3, 4, 8, 16, 32))}
    return {text for text in found | texts_in(module) if NAME.fullmatch(text)}


def texts_in(module: ModuleType) -> set[str]:
    """Return the texts in a module's code: what is compared with, looked up, or put somewhere."""
    found = set[str]()
    for value in vars(module).values():
        found.update(_texts_in(value, module.__name__))
    return found


def _texts_in(value: Any, owner: str) -> Iterator[str]:
    """Return the texts that code, a class or a collection of a module has in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, tuple | list | set | frozenset):
        for each in value:
            yield from _texts_in(each, owner)
    elif isinstance(value, dict):
        yield from _texts_in([*value, *value.values()], owner)
    elif isinstance(value, CodeType):
        yield from _texts_in(value.co_consts, owner)
    elif getattr(value, "__module__", None) != owner:
        return
    elif isinstance(value, FunctionType):
        yield from _texts_in([value.__code__, value.__defaults__, value.__kwdefaults__], owner)
        if hasattr(value, "__wrapped__"):
            yield from _texts_in(value.__wrapped__, owner)
    elif isinstance(value, type):
        own = {**vars(value)}
        yield from _texts_in([each for name, each in own.items() if name != "__doc__"], owner)


async def names_amid(begin: Callable[..., Any], attempt: Attempt) -> set[str]:
    """Return what may be a name of all that code has in its hands during an attempt."""
    texts, before = set[str](), sys.getprofile()

    def look(frame: Any, event: str, _: Any) -> None:
        if event in ("call", "return"):
            for value in list(frame.f_locals.values()):
                for each in value if isinstance(value, tuple | list) else (value,):
                    texts.add(each) if isinstance(each, str) else None

    sys.setprofile(look)
    try:
        await begin(Scripted(), *attempt)
    finally:
        sys.setprofile(before)
    return {run for text in texts if len(text) < 300 for run in NAME.findall(text)}


def names_within(key: str) -> set[str]:
    """Return what may be a name of a key: of each run of letters its start, its end, or all."""
    texts = [key]
    with suppress(ValueError):
        texts.append(bytes.fromhex(key).decode("latin-1"))
    runs = {run for text in texts for run in re.findall(r"[A-Za-z0-9_.-]{3,}", text)}
    sizes = range(3, LONGEST + 1)
    return {part for run in runs for size in sizes for part in (run[:size], run[-size:])}


def _run_together() -> Iterator[Attempt]:
    """Return attempts whose names have in them what a place is written with, or a part of it.

    Whoever writes the two one after the other has one text for some of them, most of all where
    nobody knows the place. The bytes are letters, and the same ones from both ends.
    """
    half = IPv4Address(b"1221")
    places = [None, half, *(IPv6Address(each + bytes(8)) for each in _lines_like(half.packed))]
    yield from ((name, place) for name in ("ivy", "a/b") for place in places)
    for text in ("1221", half.packed.hex()):
        for name in (f"ivy{text}", f"{text}ivy", text):
            yield name, half
        for name in (f"ivy{text * 2}", f"{text * 2}ivy", text * 2):
            yield name, None
    for text in ("1221", half.packed.hex(), str(half), str(int(half)), half.reverse_pointer):
        yield text, None
        for sign in SIGNS:
            yield f"ivy{sign}{text}", None
            yield f"{text}{sign}ivy", None


def _lines_like(four: bytes) -> list[bytes]:
    """Return the /64s that have these four bytes, and what somebody may fill them up with."""
    return [four * 2, four + bytes(4), bytes(4) + four, b"\x20\x02" + four + bytes(2), bytes(8)]


def _names_alike() -> Iterator[str]:
    for size in range(1, 4):
        for parts in _cut("a1b2", size):
            yield from (sign.join(parts) for sign in SIGNS)
    for sign in SIGNS[1:]:
        yield from (f"{sign}a1b2", f"a1b2{sign}", f"a1{sign}{sign}b2")


def _places_of(digits: str) -> Iterator[IPv4Address | IPv6Address]:
    """Return all addresses that are written with these digits in this order."""
    for parts in _cut(digits, 4):
        if all(int(part) < 256 for part in parts):
            yield IPv4Address(".".join(parts))
    for size in range(1, 5):
        for parts in _cut(digits, size):
            if all(len(part) <= 4 for part in parts):
                yield IPv6Address(":".join(parts) + "::")


def _cut(text: str, size: int) -> Iterator[list[str]]:
    """Return each way to cut a text in so many pieces."""
    for cuts in combinations(range(1, len(text)), size - 1):
        yield [text[start:end] for start, end in zip((0, *cuts), (*cuts, None), strict=True)]
