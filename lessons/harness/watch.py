"""`pytest lessons/03 --watch`: runs again at every save, until Ctrl-C.

This process waits for changes and keys. A warm one has imported all libraries already, and each run
is a fork of it. When one of them ends, however it ends, a closed pipe ends those below it.
"""

import signal
import sys
from pathlib import Path

from lessons.harness.catalogue import ROOT, Lesson
from lessons.harness.keys import Keys
from lessons.harness.reset import Unchanged, reset
from lessons.harness.warm_pytest import CAN_FORK, ColdPytest, WarmPytest

WATCHED = ("lessons", "solutions", "conftest.py", "pyproject.toml", "dev.env")
SUFFIXES = {".py", ".toml", ".env"}
CLEAR = "\033[H\033[2J\033[3J"
WAITING = "watching lessons/ and solutions/. Save a file to run again."
NO_FORK = """This system cannot fork a process, so each run starts from nothing. It has no keys for
a watch either: type pytest with --hint or --reset."""
NO_KEYS = "keys   Ctrl-C end"
KEYS = "keys   h hint   r reset   Ctrl-C end"
MORE_KEYS = "keys   h stronger hint   r reset   Ctrl-C end"
SURE = "reset  Press r once more to bring the starter back. Your file is kept beside it."


class Watch:
    """Runs pytest with the same arguments, again and again, and answers to keys in between.

    `lesson` is the one whose hints and starter the keys bring, or None for no keys.
    """

    def __init__(self, arguments: list[str], lesson: Lesson | None) -> None:
        self._arguments = arguments
        self._lesson = lesson
        self._keys = Keys()
        self._runner: WarmPytest | ColdPytest = WarmPytest(*arguments) if CAN_FORK else ColdPytest()
        self._is_running = False
        self._hints = 0  # shown since the last save
        self._is_sure = False  # r was the last key
        self._said: list[str] = []  # what a reset said, which the run after it wipes out

    def save(self) -> None:
        """Run because a file was saved."""
        self._hints = 0
        self._run()

    def look(self) -> None:
        """Notice the end of a run, or a key after it."""
        if not self._is_running:
            self._answer(self._keys.pressed() if self._lesson else "")
        elif self._runner.wait(0) is not None:
            self._is_running = self._is_sure = False
            if self._lesson:
                self._keys.begin()  # before it is said that there are keys
            print("", *self._said, WAITING, self._which_keys(), sep="\n", flush=True)
            self._said = []

    def close(self) -> None:
        """End the run, and leave the terminal as it was."""
        self._runner.close()
        self._keys.end()

    def _run(self, *more: str) -> None:
        self._keys.end()  # a debugger reads from the same terminal
        if sys.stdout.isatty():
            print(CLEAR, end="", flush=True)
        self._runner.order(*self._arguments, *more)
        self._is_running = True

    def _which_keys(self) -> str:
        if not self._lesson or not self._keys.are_there:
            return NO_KEYS
        return MORE_KEYS if self._hints else KEYS

    def _answer(self, key: str) -> None:
        if not key:
            return
        was_sure, self._is_sure = self._is_sure, key == "r"
        if key == "h":
            self._hints += 1
            self._run("--hint" if self._hints == 1 else "--hint=more")
        elif key == "r" and was_sure:
            self._is_sure = False
            self._reset()
        elif key == "r":
            print(SURE, flush=True)

    def _reset(self) -> None:
        assert self._lesson
        try:
            self._said = reset(self._lesson)  # a save, so a run follows
        except Unchanged as reason:
            print(reason, flush=True)


def watch(arguments: list[str], candidate: str | None, lesson: Lesson | None = None) -> int:
    """Run pytest with these arguments now and after every save. Return 0 at Ctrl-C, or a kill."""
    from watchfiles import watch as changes

    paths = [ROOT / name for name in WATCHED] + ([Path(candidate).parent] if candidate else [])
    if not CAN_FORK:
        print(NO_FORK)
    watching = Watch(arguments, lesson)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        watching.save()
        for changed in changes(
            *(path for path in paths if path.exists()),  # a hand-out may lack some
            watch_filter=lambda _, path: Path(path).suffix in SUFFIXES,
            step=2,  # milliseconds of silence that end a save
            rust_timeout=100,
            yield_on_timeout=True,
        ):
            if changed:
                watching.save()
            else:
                watching.look()
    except KeyboardInterrupt:
        print()
    finally:
        watching.close()
        signal.signal(signal.SIGTERM, before)
    return 0


def without_watch(arguments: tuple[str, ...]) -> list[str]:
    """Return what the runs get of the command line."""
    return [each for each in arguments if each != "--watch"]
