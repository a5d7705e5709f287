"""Ends a test that would not end: one sentence, instead of a terminal that hangs."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lessons.harness.catalogue import shown

SECONDS = 10  # for one test; the slowest right one takes five
BUSY = 3  # times as long where other programs take the processor away
AGAIN = 1  # second, until the next try to end what swallowed the first one
TRIES = 4  # to raise Endless, until it is clear that the test swallows it
GAVE_UP = 124  # the exit code when nothing ends it
_exit = os._exit  # here, since a learner's call of it is caught while a test runs


ENDLESS = "{} did not come to an end. Is there a loop without a way out?"


class Endless(BaseException):
    """The graded file did not come to an end. No `except Exception` stops it."""


class Limit:
    """Watches one test at a time. Where the system has no alarms it watches none."""

    def __init__(self) -> None:
        self._files: set[Path] = set()
        self._give_up: Callable[[], None] = lambda: None
        self._strikes = 0
        self._began = self._worked = self._processor_at_start = 0.0
        self.sentence = ENDLESS.format("The app")

    @property
    def struck(self) -> bool:
        return self._strikes > 0

    @contextmanager
    def watching(self, files: set[Path], give_up: Callable[[], None]) -> Iterator[None]:
        """Raise Endless in the block when it takes too long; `files` are the learner's.

        When the block swallows that every time, `give_up` is called, and the process ends.
        """
        if not hasattr(signal, "setitimer"):
            yield
            return
        self._files, self._give_up = files, give_up
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
            self._began, self._worked = time.perf_counter(), 0.0
            self._processor_at_start = time.process_time()
            signal.setitimer(signal.ITIMER_REAL, SECONDS, AGAIN)

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

    def _is_kept_waiting(self) -> bool:
        """Return whether the test still works, but had too little of the processor so far."""
        worked = time.process_time() - self._processor_at_start
        waited = time.perf_counter() - self._began
        lately, self._worked = worked - self._worked, worked
        return lately > AGAIN / 10 and worked < SECONDS * 0.9 and waited < SECONDS * BUSY

    def _strike(self, signal_number: int, frame: FrameType | None) -> None:
        if not self.struck and self._is_kept_waiting():
            return
        self._strikes += 1
        frames = sys._current_frames()
        stuck = {thread: line for thread in frames if (line := self._line(frames[thread]))}
        self.sentence = ENDLESS.format(next(iter(stuck.values()), None) or "The app")
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

    def _line(self, frame: FrameType | None) -> str | None:
        while frame:
            file = Path(frame.f_code.co_filename)
            if file in self._files:
                return f"{shown(file)}:{frame.f_lineno}"
            frame = frame.f_back
        return None


def _raise_in(thread: int, error: type[BaseException]) -> None:
    import ctypes  # here, since every run would pay for it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
