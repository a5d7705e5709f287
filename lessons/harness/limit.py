"""Ends a test that would not end: one sentence, instead of a terminal that hangs."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from lessons.harness.catalogue import shown

SECONDS = 10  # for one test; the slowest right one takes five
SILENT = 2  # seconds, until somebody who waits is told what runs
BUSY = 6  # times as long where other programs take the processor away
AGAIN = 1  # second, until the next try to end what swallowed the first one
TRIES = 4  # to raise Endless, until it is clear that the test swallows it
GAVE_UP = 124  # the exit code when nothing ends it
THREADS = Path("/proc/self/task")  # on Linux
_exit = os._exit  # here, since a learner's call of it is caught while a test runs


ENDLESS = "{} did not come to an end. Is there a loop without a way out?"
WAITING = (
    "{} did not come to an end. It computes nothing, it waits. Does it sleep, or is a lock held "
    "over an `await`, or never given back?"
)


class Endless(BaseException):
    """The graded file did not come to an end. No `except Exception` stops it."""


class Limit:
    """Watches one test at a time. Where the system has no alarms it watches none."""

    def __init__(self) -> None:
        self._files: set[Path] = set()
        self._give_up: Callable[[], None] = lambda: None
        self._say: Callable[[], None] | None = None
        self._strikes = 0
        self.interrupted = False
        self._began = self._wanted = self._processor_at_start = 0.0
        self.sentence = ENDLESS.format("The app")

    @property
    def struck(self) -> bool:
        return self._strikes > 0 or self.interrupted

    @contextmanager
    def watching(
        self,
        files: set[Path],
        give_up: Callable[[], None],
        say: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Raise Endless in the block when it takes too long; `files` are the learner's.

        When the block swallows that every time, `give_up` is called, and the process ends. `say`
        is called once, when the block has kept somebody waiting.
        """
        if not hasattr(signal, "setitimer"):
            yield
            return
        self._files, self._give_up, self._say = files, give_up, say
        before = signal.signal(signal.SIGALRM, self._strike)
        self.go_on()
        try:
            yield
        finally:
            self.pause()
            signal.signal(signal.SIGALRM, before)

    def go_on(self) -> None:
        """Begin to count the seconds."""
        if hasattr(signal, "setitimer"):
            self._began, self._wanted = time.perf_counter(), 0.0
            self._processor_at_start = time.process_time()
            signal.setitimer(signal.ITIMER_REAL, min(SILENT, SECONDS), AGAIN)

    def pause(self) -> None:
        """Count no more: a person has the debugger open."""
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

    def leave(self, code: int) -> None:
        """End the process if a thread may be left that never ends. Call it last."""
        if self.struck:
            sys.stdout.flush()
            sys.stderr.flush()
            _exit(code)

    def _strike(self, signal_number: int, frame: FrameType | None) -> None:
        waited = time.perf_counter() - self._began
        worked = time.process_time() - self._processor_at_start
        wanted = worked + _kept_waiting()
        is_working, self._wanted = wanted - self._wanted > AGAIN / 3, wanted
        if self._say and waited < SECONDS:
            say, self._say = self._say, None
            say()
        # Where it still works, but had too little of the processor so far, it gets more time.
        enough = SECONDS * BUSY if is_working and worked < SECONDS * 0.9 else SECONDS
        if not self.struck and waited < enough:
            return
        self._strikes += 1
        frames = sys._current_frames()
        stuck = {
            thread: line for thread in frames if (line := self._line(_outwards(frames[thread])))
        }
        where = next(iter(stuck.values()), None) or self._line(_suspended())
        self.sentence = (ENDLESS if is_working else WAITING).format(where or "The app")
        main = threading.main_thread().ident
        beside = [thread for thread in stuck if thread != main]
        threading.excepthook = lambda _: None  # the screen says what a traceback would
        for thread in beside:
            _raise_in(thread, Endless)
        if self._strikes > TRIES:
            try:
                self._give_up()
            finally:
                self.leave(GAVE_UP)
        if self._strikes > 1 or not beside:  # its thread's end ends what waits for it here
            raise Endless

    def _line(self, frames: Iterable[FrameType]) -> str | None:
        """Return the first line of the learner's files."""
        for frame in frames:
            if (file := Path(frame.f_code.co_filename)) in self._files:
                return f"{shown(file)}:{frame.f_lineno}"
        return None


def _kept_waiting() -> float:
    """Return for how many seconds threads of this process were ready, and others ran instead."""
    seconds = 0.0
    for file in THREADS.glob("*/schedstat"):
        with suppress(OSError):  # it has just ended
            seconds += int(file.read_text("ascii").split()[1]) / 1e9
    return seconds


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame:
        yield frame
        frame = frame.f_back


def _suspended() -> Iterator[FrameType]:
    """Yield the frames of what waits in an `await`, of each task the innermost first."""
    import asyncio

    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:  # no loop runs here
        return
    for task in tasks:
        frames, waiting = [], task.get_coro()
        while (frame := getattr(waiting, "cr_frame", None)) is not None:
            frames.append(frame)
            waiting = waiting.cr_await  # type: ignore[union-attr]
        yield from reversed(frames)


def _raise_in(thread: int, error: type[BaseException]) -> None:
    import ctypes  # here, since every run would pay for it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
