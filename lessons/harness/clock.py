"""Moves the clock and the server's place on earth, so that nothing that depends on them hides.

All of this works in worker threads too, and may be nested: `with zone("WEST12"), later(...)`.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any

# As POSIX writes them, east with a minus: no system needs a file for these.
FAR_WEST, FAR_EAST = "WEST12", "EAST-14"
SUMMER = "CET-1CEST,M3.5.0,M10.5.0/3"  # an hour comes twice in October
ZONES = (FAR_WEST, FAR_EAST, "UTC0")


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
def pauses() -> Iterator[list[float]]:
    """Yield a list that fills with the seconds that code in the block means to wait.

    Threads do not wait in fact. What waits on an event loop does.
    """
    import pytest

    meant: list[float] = []
    call_later = asyncio.BaseEventLoop.call_later

    def noted(loop: Any, delay: float, *args: Any, **kwargs: Any) -> Any:
        if delay > 0:
            meant.append(delay)
        return call_later(loop, delay, *args, **kwargs)

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
