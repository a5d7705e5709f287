"""Watches over a process and all that it begins, and ends them together."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

MEMORY = 1 << 30  # bytes, of all together
PROCESSES = 32
TOO_LONG, TOO_BIG, TOO_MANY = 121, 122, 123  # exit codes; 124 is limit.GAVE_UP
TICK = 0.02  # seconds between two looks
CHILD_SUBREAPER = 36  # of the Linux kernel


def adopt_orphans() -> None:
    """Let the children of children that have ended become this process's own, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)


def watch(child: int, seconds: int) -> int:
    """Wait for a child's end or for too much of something; end what is left.

    `child` leads a group of processes. Returns its exit code, or one that says what was too much.
    """
    end, code = time.monotonic() + seconds, None
    while code is None:
        time.sleep(TICK)
        code = reap().get(child)
        family = list(islice(descendants(os.getpid()), PROCESSES + 1))
        if len(family) > PROCESSES:
            code = TOO_MANY
        elif sum(map(memory_of, family)) > MEMORY:
            code = TOO_BIG
        elif time.monotonic() > end:  # last: whatever is too much also makes all others slow
            code = TOO_LONG
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    while family := list(descendants(os.getpid())):  # what has left the group
        for process in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        reap()
    return code if code >= 0 else 128 - code


def reap() -> dict[int, int]:
    """Return the exit codes of the children, own and adopted, that have ended."""
    codes = {}
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    return codes


def descendants(process: int) -> Iterator[int]:
    """Yield the children of a process, and theirs. None where the system has no /proc."""
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, file.read_text().split()):
                yield child
                yield from descendants(child)


def memory_of(process: int) -> int:
    """Return the bytes that a process has in memory."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except OSError:  # it has just ended
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
