"""Where slow hashing runs: beside the event loop, and few at once."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Args = TypeVarTuple("Args")

# More hashes at once than cores finish no sooner. They only starve every other request.
hashing_slots = ThreadPoolExecutor(os.cpu_count() or 2, thread_name_prefix="hashing")


async def run_hashing(function: Callable[[*Args], T], *args: *Args) -> T:
    """Call `function(*args)` in a worker thread, waiting for a free one, and return its result."""
    return await asyncio.get_running_loop().run_in_executor(hashing_slots, function, *args)
