"""Finds what a module keeps from one call to the next.

Nothing is asked by name: the objects that can be reached from the module's globals are walked
through, so defaults, closures, caches, class attributes and the app's state count as well.
"""

import gc
import logging
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor
from functools import cache
from itertools import count
from operator import length_hint
from threading import Thread
from types import FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from lessons.harness.kept import rows_in

CACHED = type(cache(str))  # what lru_cache returns
FOREIGN = (
    *("lessons.", "_sitebuiltins", "pydantic._", "pydantic.fields", "pydantic_core", "_pytest"),
    # What its routes are made of, many times over:
    *("fastapi.dependencies.", "fastapi._compat.", "pydantic.type_adapter"),
)
PLAIN = (str, bytes, int, float)  # they never change: another one comes in their place
FILLED = (bytearray, array, memoryview)
COUNTING = (count, type(iter(range(0))), type(iter(range(2**64))), type(iter([])), type(iter(())))
Place = tuple[str, int, int]  # a global, a way from there, and where at its end
_address = object.__hash__  # as good as id(), of which each audit hook would be told
WARM_UP, CALLS = 2, 3  # the first calls may build what stays, as a context or the middleware


def remembered(
    module: ModuleType,
    call: Callable[[str], Any],
    secrets: list[str],
    without: Collection[str] = (),
) -> str | None:
    """Call with each secret; say what the module remembers of them, or None for nothing.

    A name that holds one more thing after each call, or the last secret itself. Globals `without`
    which it can do are left out.
    """
    if len(secrets) < WARM_UP + CALLS:
        raise ValueError(f"give {WARM_UP + CALLS} secrets, all different")
    for secret in secrets[:WARM_UP]:
        call(secret)
    before, held = _walk(module, secrets[-1], without)
    for secret in secrets[WARM_UP:]:
        call(secret)
    after, holding = _walk(module, secrets[-1], without)
    # A short secret may be a part of what is there anyway, as of the path of the learner's folder.
    if holder := next((name for name in holding if holding[name] > held[name]), ""):
        return f"`{holder}` still holds the last one"
    calls = len(secrets) - WARM_UP
    grown = next((name for name in after if after[name] >= before[name] + calls), None)
    return f"`{grown}` grows with each call" if grown else None


def traces(module: ModuleType, call: Callable[[str], Any], secrets: list[str]) -> str | None:
    """Call with secrets; say where the module keeps a trace of them, or None for nowhere.

    A trace may be a few bits in a filter, or the number that a digest is. So the first secret comes
    several times, then the others. A number of calls or the time of the last one changes for a
    known secret too. What changes for new ones only was made of them.
    """
    known, *new = secrets
    for _ in range(WARM_UP):
        call(known)
    before = _values(module)

    def changed_by(secret: str) -> set[Place]:
        nonlocal before
        call(secret)
        after = _values(module)
        places = {at for at in before.keys() | after.keys() if before.get(at) != after.get(at)}
        before = after
        return places

    for_known = changed_by(known)
    places: set[Place] = set()
    for secret in new:
        places = changed_by(secret)
        if len(places) <= len(for_known):
            return None
    name = min(at[0] for at in places - for_known)
    return f"`{name}` is changed by each new one, and by none that it has seen"


def is_changed(module: ModuleType, call: Callable[[], Any], without: Collection[str] = ()) -> bool:
    """Tell whether the same call, once more, changes a text or a number that the module keeps.

    Whoever counts may stop where no test gets to.
    """
    for _ in range(WARM_UP):
        call()
    before = _values(module, without)
    call()
    return _values(module, without) != before


def texts(module: ModuleType, *stores: Any) -> str:
    """Return all text that a module and these stores keep, a line each, whatever `repr` leaves out.

    Give the stores as they are, not what stands before them in a test.
    """
    found, kept = [], map(rows_in, stores)
    for each in _things([*vars(module).values(), *kept], module, {_address(vars(module))}):
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, bytes | bytearray):
            found.append(each.decode("latin-1"))
    return "\n".join(found)


def _walk(
    module: ModuleType, secret: str, without: Collection[str] = ()
) -> tuple[Counter[str], Counter[str]]:
    """Count what hangs on each global, and in how much of it the secret is."""
    sizes: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    encoded = secret.encode("utf-8", "surrogatepass")
    seen = {_address(vars(module))}
    for name, value in _globals(module, without):
        for each in _things([value], module, seen):
            sizes[name] += 1
            if (isinstance(each, str) and secret in each) or (
                isinstance(each, bytes | bytearray) and encoded in each
            ):
                holders[name] += 1
    return sizes, holders


def _things(ahead: list[Any], module: ModuleType, seen: set[int]) -> Iterator[Any]:
    """Yield what can be reached from some values, each thing once. `seen` are the addresses."""
    while ahead:
        each = ahead.pop()
        if _address(each) in seen or _is_foreign(each, module.__name__):
            continue
        seen.add(_address(each))
        yield each
        ahead += _held_by(each)


def _globals(module: ModuleType, without: Collection[str]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(module).items() if name not in without]


def _values(module: ModuleType, without: Collection[str] = ()) -> dict[Place, object]:
    """Return all texts, bytes and numbers by their place."""
    values: dict[Place, object] = {}
    for name, path, each, held in _reached(module, without):
        if isinstance(each, PLAIN):
            values[name, path, 0] = each
        elif isinstance(each, FILLED):
            values[name, path, 0] = bytes(each)
        elif isinstance(each, COUNTING):
            values[name, path, -1] = repr(each) if isinstance(each, count) else length_hint(each)
        for at, part in enumerate(held):
            if isinstance(part, PLAIN):
                values[name, path, at] = part
    return values


def _reached(
    module: ModuleType, without: Collection[str]
) -> Iterator[tuple[str, int, Any, list[Any]]]:
    """Return what hangs on each global: its name, the way there, each object, and what it holds."""
    seen = {_address(vars(module))}
    for name, value in _globals(module, without):
        ahead = [(0, value)]
        while ahead:
            path, each = ahead.pop()
            if _address(each) in seen or _is_foreign(each, module.__name__):
                continue
            seen.add(_address(each))
            held = _held_by(each)
            yield name, path, each, held
            ahead += [(hash((path, at)), part) for at, part in enumerate(held)]


def _held_by(value: Any) -> list[Any]:
    """Return what a value refers to. Of a dict whose keys are texts, gc names the values only."""
    held = [] if isinstance(value, PLAIN) else gc.get_referents(value)
    return [*held, *value] if isinstance(value, dict) else held


def _is_foreign(value: Any, owner: str) -> bool:
    """Tell whether a value belongs to somebody else, whose memory is their own business."""
    known = _are_foreign(type(value))
    if known is not None:
        return known
    if isinstance(value, CACHED):  # `lru_cache(theirs)` has their name, and is not theirs
        theirs = sys.modules.get(value.__module__)
        return value.__module__ != owner and getattr(theirs, value.__name__, None) is value
    return bool(value.__module__ != owner)


@cache
def _are_foreign(kind: type) -> bool | None:
    """Tell whether all values of a type are somebody else's; None if each has to be asked."""
    if issubclass(kind, ModuleType | FrameType | logging.Logger | Executor | Thread):
        return True  # a pool begins its threads when they are needed
    if issubclass(kind, CACHED | FunctionType | MethodType | type):
        return None
    return kind.__module__.startswith(FOREIGN)
