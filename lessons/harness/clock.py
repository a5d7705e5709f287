"""Moves the clock and the server's place on earth, so that nothing that depends on them hides.

All of this works in worker threads too, and may be nested: `with zone("WEST12"), later(...)`.
"""

import asyncio
import os
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from types import ModuleType
from typing import Any

from lessons.harness.stand_in import standing_in

# As POSIX writes them, east with a minus: no system needs a file for these.
FAR_WEST, FAR_EAST = "WEST12", "EAST-14"
SUMMER = "CET-1CEST,M3.5.0,M10.5.0/3"  # an hour comes twice in October
ZONES = (FAR_WEST, FAR_EAST, "UTC0")
HOUR = 3600
SLEEPER = "_set_result_unless_cancelled"  # what ends an `asyncio.sleep`
CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")


def later(span: timedelta) -> AbstractContextManager[Any]:
    """Move the clock on from what it says now, also back with a negative span."""
    import time_machine

    return time_machine.travel(span)


def at(moment: datetime, stands: bool = False) -> AbstractContextManager[Any]:
    """Set the clock to a moment with a zone; let it stand still there if it is to."""
    import time_machine

    if moment.tzinfo is None:
        raise ValueError("Say in which zone the moment is.")
    # As a number: with a datetime the zone of its own would become the server's.
    return time_machine.travel(moment.timestamp(), tick=not stands)


@contextmanager
def all_clocks_stand() -> Iterator[None]:
    """Let every clock say in the block what it says at its start. No time limit ends there."""
    import pytest

    with at(datetime.now(UTC), stands=True), pytest.MonkeyPatch.context() as patch:
        for name in CLOCKS[1:]:
            patch.setattr(time, name, partial(float, getattr(time, name)()))
            patch.setattr(time, f"{name}_ns", partial(int, getattr(time, f"{name}_ns")()))
        yield


@contextmanager
def jumping(module: ModuleType) -> Iterator[None]:
    """Let an hour pass between any two looks that a module takes at a clock.

    What takes long is simulated so: nothing waits, and nobody else sees the time jump.
    """
    looks = 0

    def passed(by: str) -> int:
        nonlocal looks
        looks += by == module.__name__
        return looks * HOUR if by == module.__name__ else 0

    def moved(unit: int) -> Callable[[Any], Any]:
        return lambda original: lambda: original() + unit * passed(_looker())

    places: list[tuple[Any, str, Any]] = [(timeit, "default_timer", moved(1))]
    for name in CLOCKS:
        places += [(time, name, moved(1)), (time, f"{name}_ns", moved(10**9))]
    with ExitStack() as stack:
        if any(value in (datetime, sys.modules["datetime"]) for value in vars(module).values()):
            traveller = type(stack.enter_context(later(timedelta(0))))
            ask = traveller.time_ns  # what `datetime.now()` asks
            places.append(
                (traveller, "time_ns", lambda _: lambda self: ask(self) + 10**9 * passed(_looker()))
            )
        stack.enter_context(standing_in(module, places))
        yield


def _looker() -> str:
    """Return the name of the module that looks at a clock, past those who only hand it on."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"] in (__name__, "time_machine"):
        frame = frame.f_back
    return str(frame.f_globals["__name__"])


@contextmanager
def pauses() -> Iterator[list[float]]:
    """Yield a list that fills with the seconds that code in the block waits.

    Nobody sleeps in fact. What else waits on an event loop does. A time limit that nothing reached
    is no wait.
    """
    import pytest

    meant: list[float] = []
    call_later = asyncio.BaseEventLoop.call_later

    def noted(loop: Any, delay: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        def over(*args: Any) -> None:
            if delay > 0:
                meant.append(delay)
            callback(*args)

        wakes_a_sleeper = getattr(callback, "__name__", "") == SLEEPER
        return call_later(loop, 0 if wakes_a_sleeper else delay, over, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.BaseEventLoop, "call_later", noted)
        patch.setattr(time, "sleep", meant.append)
        yield meant


@contextmanager
def zone(name: str) -> Iterator[None]:
    """Put the server in a time zone. Windows cannot: there nothing happens."""
    if not hasattr(time, "tzset"):
        yield
        return
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
