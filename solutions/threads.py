"""Where slow hashing runs: beside the event loop, and few at once."""

import os
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")
Args = TypeVarTuple("Args")

# More hashes at once than cores finish no sooner. They only starve every other request.
hashing_slots = CapacityLimiter(os.cpu_count() or 2)


async def run_hashing(function: Callable[[*Args], T], *args: *Args) -> T:
    """Call `function(*args)` in a worker thread, waiting for a free slot, and return its result."""
    return await to_thread.run_sync(function, *args, limiter=hashing_slots)
