"""Where slow hashing runs: off the event loop, few at once, and not for clients who have gone."""

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, TypeVarTuple

from fastapi import HTTPException

from .bounds import current_connection

T = TypeVar("T")
Args = TypeVarTuple("Args")

THREADS = os.cpu_count() or 2
WAITING_PER_THREAD = 16  # more would wait longer than people and proxies do (CWE-770)
RETRY_AFTER_SECONDS = 5  # what a full queue takes: 16 hashes in a row, 0.3 s each


def _give_way() -> None:
    # Requests are served before hashes. Only Linux has priorities for threads; elsewhere the
    # number could mean a whole process. A system that refuses is no reason not to hash.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


# More hashes at once than cores finish no sooner. They only starve every other request.
hashing_slots = ThreadPoolExecutor(THREADS, "hashing", initializer=_give_way)

_unfinished: set[Future[Any]] = set()  # running or waiting, from every event loop
_entrance = threading.Lock()


async def run_hashing(function: Callable[[*Args], T], *args: *Args) -> T:
    """Call `function(*args)` in a hashing thread, waiting for a free one, and return its result.

    Raises HTTPException 503 when the queue is full. Work that still waits in the queue is dropped
    when the client of this request leaves, or when this task is cancelled.
    """
    work, must_wait = _enter(function, *args)
    answer = asyncio.wrap_future(work)
    try:
        if must_wait and await _client_leaves_before(answer) and work.cancel():
            raise _too_many()  # nobody reads it: it ends the request without a line in the log
        return await answer
    finally:
        answer.cancel()  # and with it the work, unless that has begun


def _enter(function: Callable[[*Args], T], *args: *Args) -> tuple[Future[T], bool]:
    """Return the work, and whether it has to wait for a thread. Raises HTTPException 503."""
    context = contextvars.copy_context()

    def call() -> T:
        try:
            return context.run(function, *args)
        except StopIteration as error:  # a Future can't hold one: the request would never end
            raise RuntimeError("The function raised StopIteration") from error

    with _entrance:
        if len(_unfinished) >= THREADS * (1 + WAITING_PER_THREAD):
            raise _too_many()
        work = hashing_slots.submit(call)
        _unfinished.add(work)
        must_wait = len(_unfinished) > THREADS
    work.add_done_callback(_unfinished.discard)
    return work, must_wait


async def _client_leaves_before(answer: asyncio.Future[Any]) -> bool:
    """Wait for the answer, or until this request's client leaves. Return whether it left."""
    client = current_connection.get()
    if client is None or not client.awaits_answer:
        return False
    leaving = asyncio.create_task(client.leaves())
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return not answer.done() and leaving.result()
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)  # no task stays behind


def _too_many() -> HTTPException:
    # The same for everybody: a queue that favours known names would tell which names are known.
    return HTTPException(
        503,
        "Too many logins at once. Try again soon.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
