"""Logins that come all at once, and those that come while every hashing thread is busy."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from lessons.harness.client import Client, Send
from lessons.harness.meter import Gate
from lessons.harness.rest import threads_rest

POLL = 0.001  # seconds
# Where it cannot be seen that the threads rest:
SHORT = 0.005  # without a hash that ends: then all that were to come have ended
LONG = 0.1  # as long as some are missing; those behind a limiter wait for the loop
PATIENCE = 3  # for the given threads, which a busy machine lets wait


def log_in_late(client: Client, gate: Gate, crowd: list[Send], late: list[Send]) -> list[Any]:
    """Post a crowd of logins, some more while the hashes of the first ones are held, and let go.

    Returns the answers to the crowd, then those to the late ones. Whoever lets them wait answers
    once the gate is open, whoever has no room answers at once. How many waited for a given thread
    is in `gate.queued`.
    """
    from solutions.support import threads

    async def storm() -> list[Any]:
        first = [asyncio.create_task(client.ask("POST", "/token", **send)) for send in crowd]
        settled = asyncio.create_task(gate.settle())
        # Code that hashes on the event loop holds nothing, so it comes to its end.
        done = asyncio.gather(*first, return_exceptions=True)
        await asyncio.wait({settled, done}, return_when=asyncio.FIRST_COMPLETED)
        settled.cancel()
        last = [asyncio.create_task(client.ask("POST", "/token", **send)) for send in late]
        if not done.done():
            await gate.settle()
        gate.queued = threads.hashing_slots._work_queue.qsize()
        gate.open()
        return await asyncio.gather(*first, *last)

    return client.run(storm())


def answers_in_a_storm(client: Client, method: str, url: str, **send: Any) -> Any:
    """Return the answer to a request while every given hashing thread is busy; None if it waits."""
    from solutions.support import threads

    over = threading.Event()

    async def ask() -> Any:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                return await client.ask(method, url, **send)

    for _ in range(threads.THREADS):
        threads.hashing_slots.submit(over.wait)
    try:
        return client.run(ask())
    finally:
        over.set()


@contextmanager
def past_the_entrance() -> Iterator[list[Any]]:
    """Yield a list that fills with what comes into the given hashing threads without `run_hashing`.

    They are the right threads, but nothing bounds how many wait for them.
    """
    from solutions.support import threads

    past: list[Any] = []
    submit, entrance = threads.hashing_slots.submit, threads._enter.__code__

    def note(work: Any, *args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_code is not entrance:
            past.append(work)
        return submit(work, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads.hashing_slots, "submit", note)
        yield past


@contextmanager
def hashing_at_once() -> Iterator[None]:
    """Let the given hashing threads work before they are waited for, which saves their wake-up.

    For one caller alone. What is hashed so is beside the event loop, as in a thread.
    """
    from solutions.support import threads

    def submit(work: Callable[..., Any], *args: Any) -> Future[Any]:
        ended: Future[Any] = Future()
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            ended.set_result(work(*args))
        except Exception as error:
            ended.set_exception(error)
        finally:
            asyncio._set_running_loop(loop)
        return ended

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads.hashing_slots, "submit", submit)
        yield


@contextmanager
def full_queue() -> Iterator[None]:
    """Let the given hashing threads have no room: `run_hashing` then answers 503."""
    from solutions.support import threads

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "WAITING_PER_THREAD", -1)
        yield


def at_a_standstill(gate: Gate, size: int) -> Callable[[], Coroutine[Any, Any, None]]:
    """Return a watcher that lets `size` held hashes end while the event loop stands still.

    So no request goes on before the others are verified: what they share is overwritten by then.
    """

    async def watch() -> None:
        from solutions.support import threads

        await gate.settle()
        gate.open()
        end = time.perf_counter() + PATIENCE
        while threads._unfinished and time.perf_counter() < end:
            time.sleep(POLL)  # noqa: ASYNC251
        quiet = 0.0
        while quiet < (SHORT if gate.ended >= size else LONG) and not threads_rest():
            before = gate.ended
            time.sleep(POLL)  # noqa: ASYNC251
            quiet = quiet + POLL if before == gate.ended else 0.0

    return watch
