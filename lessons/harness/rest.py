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
TURNS = 20  # of the loop, at most: somebody may keep it busy for ever
LOOKS = 3  # in a row that see the same
PAUSE = 0.0002  # seconds before each; who waits for Python's lock gets it then, and has run
# In these a thread waits for another one. In any other place it may go on by itself.
WAITS = {module.__file__ for module in (threading, queue, concurrent.futures.thread)}


async def is_at_rest() -> bool:
    """Return whether neither the running loop nor a thread can go on by itself."""
    await asyncio.sleep(0)  # what threads have given the loop to do is done first
    loop = asyncio.get_running_loop()
    return not _goes_on(loop) and threads_rest() and not _goes_on(loop)


async def let_the_loop_work() -> None:
    """Give the running loop some turns, as long as it has something to do."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(TURNS):
        if not loop._ready:
            return
        await asyncio.sleep(0)


def threads_rest() -> bool:
    """Look several times, and return whether no other thread could go on, and none has run."""
    if not IS_TOLD:
        return False
    looks = set()
    for _ in range(LOOKS):
        time.sleep(PAUSE)
        looks.add(_resting())
        if len(looks) > 1 or None in looks:
            return False
    return True


def _goes_on(loop: Any) -> bool:
    return bool(loop._ready) or not all(timer.cancelled() for timer in loop._scheduled)


def _resting() -> frozenset[str] | None:
    """Return of each other thread how often it ran; None when one of them goes on."""
    if any(map(_may_go_on, _others())):
        return None
    try:
        told = [_told(thread) for thread in os.listdir(THREADS) if int(thread) != _own()]
    except OSError:  # it has just ended
        return None
    return frozenset(told) if all(SLEEPS in each for each in told) else None


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
