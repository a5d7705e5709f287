"""Tells when nothing of this process can go on by itself: no thread of it, and no event loop.

That is sure, where a wait only makes it likely. On a busy machine a thread may have its turn late,
but it is ready all that time, and the system says so. Linux only: elsewhere nothing is ever seen at
rest, nor where somebody sleeps, since nobody knows what for.
"""

import asyncio
import concurrent.futures.thread
import os
import queue
import sys
import threading
import time
from typing import Any

THREADS = "/proc/self/task"
IS_TOLD = os.path.isdir(THREADS)
SLEEPS = "State:\tS"
TELLING = ("State:", "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:")
LOOKS = 3  # in a row that see the same
PAUSE = 0.0002  # seconds between two; who waits for Python's lock gets it then, and has run
# In these a thread waits for another one. In any other place it may go on by itself.
WAITS = {module.__file__ for module in (threading, queue, concurrent.futures.thread)}


async def is_at_rest() -> bool:
    """Look several times, and return whether all was at rest, and nothing ran in between."""
    if not IS_TOLD:
        return False
    await _pause()  # a thread that is at its end may go
    first = _resting()
    for _ in range(LOOKS - 1):
        if first is None:
            return False
        await _pause()
        if _resting() != first:
            return False
    return first is not None


async def _pause() -> None:
    """Let other threads run, and after them what they have given the event loop to do."""
    time.sleep(PAUSE)  # noqa: ASYNC251 - nobody else needs the loop, or nothing is at rest
    await asyncio.sleep(0)


def _resting() -> set[str] | None:
    """Return of each other thread how often it ran; None when one of them, or the loop, goes on."""
    if _goes_on(asyncio.get_running_loop()) or any(map(_may_go_on, _others())):
        return None
    try:
        told = [_told(thread) for thread in os.listdir(THREADS) if int(thread) != _own()]
    except OSError:  # it has just ended
        return None
    return set(told) if all(SLEEPS in each for each in told) else None


def _goes_on(loop: Any) -> bool:
    return bool(loop._ready) or not all(timer.cancelled() for timer in loop._scheduled)


def _others() -> list[Any]:
    frames = sys._current_frames()
    return [frame for thread, frame in frames.items() if thread != threading.get_ident()]


def _may_go_on(frame: Any) -> bool:
    return frame.f_code.co_filename not in WAITS


def _told(thread: str) -> str:
    """Return what the system tells of a thread: its state, and how often it got a processor."""
    file = os.open(f"{THREADS}/{thread}/status", os.O_RDONLY)
    try:
        lines = os.read(file, 10_000).decode().splitlines()
    finally:
        os.close(file)
    return "\n".join([thread, *(line for line in lines if line.startswith(TELLING))])


def _own() -> int:
    return threading.get_native_id()
