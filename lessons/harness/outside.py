"""Sees what code reaches for outside of the process: addresses, programs, files, variables.

By an audit hook, which Python itself calls. So it does not matter which library is used, and
nothing needs to be there: a connection that is refused was tried.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

EVENTS = ("socket.", "urllib.", "subprocess.", "os.system", "os.exec", "os.spawn", "sqlite3.")
HARMLESS = ("socket.__new__", "socket.gethostname")
LOOKING_UP = ("os.py", "_collections_abc.py", "<frozen os>", "<frozen _collections_abc>")
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class _Watch:
    """The one hook of the process; a hook cannot be taken away again."""

    def __init__(self) -> None:
        self.reached: list[str] | None = None
        self.mark = ""
        self.hear: Callable[[str], None] | None = None
        self.is_set = False

    def begin(self) -> None:
        """Set the hook, if nobody has."""
        if not self.is_set:
            sys.addaudithook(self.note)
            self.is_set = True

    def note(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "syslog.syslog" and self.hear:
            self.hear(str(args[-1]))
        if self.reached is None:
            return
        if event == "open":
            if self._counts(*args):
                self.reached.append(f"the file {args[0]}")
        elif event.startswith(EVENTS) and event not in HARMLESS:
            what = args[1] if event == "socket.connect" else args[0]
            self.reached.append(f"{event} {what!a:.60}")

    def _counts(self, name: Any, mode: str | None, flags: int) -> bool:
        if isinstance(name, int) or "__pycache__" in str(name) or str(name) == os.devnull:
            return False
        writes = any(each in mode for each in "wax+") if mode else flags & TO_WRITE
        return bool(writes or (self.mark and self.mark in str(name)))


_watch = _Watch()


@contextmanager
def outside(mark: str = "") -> Iterator[list[str]]:
    """Yield a list of what is reached for in the block, each with a name for the learner.

    A file that is only read counts if `mark`, which is a part of the input, stands in its name.
    """
    _watch.begin()
    _watch.mark, _watch.reached = mark, []
    try:
        yield _watch.reached
    finally:
        _watch.reached = None


@contextmanager
def system_log(hear: Callable[[str], None]) -> Iterator[None]:
    """Tell what is written to the system's log in the block, where somebody has loaded that."""
    if "syslog" not in sys.modules:
        yield
        return
    _watch.begin()
    _watch.hear = hear
    try:
        yield
    finally:
        _watch.hear = None


@contextmanager
def variables_read() -> Iterator[list[str]]:
    """Yield a list of the environment variables that a lesson's module itself asks for.

    What it asks the settings for does not count, nor what libraries ask for.
    """
    asked: list[str] = []
    environ: Any = type(os.environ)
    original = environ.__getitem__

    def getitem(self: Any, name: str) -> str:
        if _asker(sys._getframe(1)):
            asked.append(name)
        return str(original(self, name))

    environ.__getitem__ = getitem
    try:
        yield asked
    finally:
        environ.__getitem__ = original


def _asker(frame: FrameType | None) -> bool:
    """Tell whether a step of `solutions`, or the file in its place, stands behind a look-up."""
    while frame and Path(frame.f_code.co_filename).name in LOOKING_UP:
        frame = frame.f_back
    package, _, step = str(frame.f_globals.get("__name__") if frame else "").partition(".")
    return package == "solutions" and "." not in step
