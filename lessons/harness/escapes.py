"""What is raised past every `except Exception`, made a failure that says what it was, and where.

`sys.exit`, `KeyboardInterrupt` or `pytest.skip` in a learner's function would end the run, or hang
it, instead of one test. A real Ctrl-C goes on through.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import pytest

from lessons.harness.limit import Endless


class Interrupted(KeyboardInterrupt):
    """The learner pressed Ctrl-C."""


Interrupted.__module__ = "builtins"  # so the terminal says the bare name


class Escape(Exception):
    """Stands for what no `except Exception` stops. It has its traceback, and it is its cause."""


class Exits(BaseException):
    """The learner called what ends a process without a word."""


Exits.__name__ = "os._exit"  # as the screen names it


@contextmanager
def contained(ours: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Raise Escape for what would get past an `except Exception`, but for `ours`."""
    try:
        yield
    except BaseException as error:
        if _may_pass(error) or isinstance(error, ours):
            raise
        raise Escape(str(error)).with_traceback(error.__traceback__) from error


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, Exception):
        return not isinstance(error, pytest.exit.Exception)
    if isinstance(error, asyncio.CancelledError):
        return _is_being_cancelled()
    return isinstance(error, Endless | Interrupted)


def _is_being_cancelled() -> bool:
    """Return whether somebody cancelled the present task: then nobody raised that by hand."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs here
        return False
    return task is not None and task.cancelling() > 0


def named(error: BaseException) -> BaseException:
    """Return what was raised in truth."""
    origin = error.__cause__ if isinstance(error, Escape) else error
    while isinstance(origin, BaseExceptionGroup):
        origin = origin.exceptions[0]
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration):
        origin = error.__cause__  # Python writes "coroutine raised StopIteration"
    return origin or error


@contextmanager
def no_way_out() -> Iterator[None]:
    """Let `os._exit` raise in the block, and Ctrl-C raise Interrupted."""
    process, really = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:  # a fork ends so
            really(status)
        raise Exits(status)

    def interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted

    usual = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    os._exit = refuse  # type: ignore[assignment]
    if usual:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        os._exit = really
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
