"""`pytest lessons/03 --watch`: runs again at every save, until Ctrl-C.

This process waits for changes. A warm one has imported all libraries already, and each run is a
fork of it. When one of them ends, however it ends, a closed pipe ends those below it.
"""

import sys
from pathlib import Path

from lessons.harness.catalogue import ROOT
from lessons.harness.warm_pytest import CAN_FORK, ColdPytest, WarmPytest

WATCHED = ("lessons", "solutions", "conftest.py", "pyproject.toml", "dev.env")
SUFFIXES = {".py", ".toml", ".env"}
CLEAR = "\033[H\033[2J\033[3J"
HINT = "watching lessons/ and solutions/. Save a file to run again, Ctrl-C to leave."
NO_FORK = "This system cannot fork a process, so each run starts from nothing."


def watch(arguments: list[str], candidate: str | None) -> int:
    """Run pytest with these arguments now and after every save. Return 0 at Ctrl-C."""
    from watchfiles import watch as changes

    paths = [ROOT / name for name in WATCHED] + ([Path(candidate).parent] if candidate else [])
    runner: WarmPytest | ColdPytest = WarmPytest(eager=True) if CAN_FORK else ColdPytest()
    if not CAN_FORK:
        print(NO_FORK)
    try:
        _run(runner, arguments)
        running = True
        for changed in changes(
            *paths,
            watch_filter=lambda _, path: Path(path).suffix in SUFFIXES,
            step=2,  # milliseconds of silence that end a save
            rust_timeout=100,
            yield_on_timeout=True,
        ):
            if changed:
                _run(runner, arguments)
                running = True
            elif running and runner.wait(0) is not None:
                print(f"\n{HINT}", flush=True)
                running = False
    except KeyboardInterrupt:
        print()
    finally:
        runner.close()
    return 0


def _run(runner: WarmPytest | ColdPytest, arguments: list[str]) -> None:
    if sys.stdout.isatty():
        print(CLEAR, end="", flush=True)
    runner.order(*arguments)


def without_watch(arguments: tuple[str, ...]) -> list[str]:
    """Return what the runs get of the command line."""
    return [each for each in arguments if each != "--watch"]
