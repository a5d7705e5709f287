"""pytest from a process that is warm: it has imported all libraries, and each run is a fork of it.

So every run starts clean, and early.
"""

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

CAN_FORK = hasattr(os, "fork")
WARM = Path(__file__).with_name("warm.py")


class WarmPytest:
    """A warm process, and the pipes to it.

    `expected` is what somebody will order who waits. All runs are in `folder`, if it is given, and
    nobody edits anything there meanwhile.
    """

    def __init__(self, *expected: str, folder: Path | None = None, **popen: Any) -> None:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603
            [
                *(sys.executable, "-P", str(WARM), str(orders), str(answers)),
                _line(".", *expected) if expected else "",
                *([str(folder)] if folder else []),
            ],
            pass_fds=(orders, answers),
            **popen,
        )
        os.close(orders)
        os.close(answers)

    def order(self, *arguments: str, folder: str = ".") -> None:
        """Begin a run of pytest, in a folder; one that is under way ends."""
        os.write(self._orders, _line(folder, *arguments).encode())

    def wait(self, seconds: float) -> int | None:
        """Return the run's exit code, or None when it has not ended by then."""
        if not select.select([self._answers], [], [], seconds)[0]:
            return None
        answer = os.read(self._answers, 100)
        return int(answer) if answer else None

    def close(self) -> None:
        """End the run and the process."""
        os.close(self._orders)
        self._process.wait()
        os.close(self._answers)


def _line(folder: str, *arguments: str) -> str:
    return json.dumps([folder, *arguments]) + "\n"


class ColdPytest:
    """The same where no process can fork: each run is a process of its own."""

    def __init__(self, **popen: Any) -> None:
        self._popen = popen
        self._process: subprocess.Popen[bytes] | None = None

    def order(self, *arguments: str, folder: str = ".") -> None:
        """Begin a run of pytest, in a folder; one that is under way ends."""
        self.close()
        command = [sys.executable, "-m", "pytest", *arguments]
        self._process = subprocess.Popen(command, **{"cwd": folder, **self._popen})  # noqa: S603

    def wait(self, seconds: float) -> int | None:
        """Return the run's exit code, or None when it has not ended by then."""
        try:
            return self._process.wait(seconds) if self._process else None
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End the run."""
        if self._process:
            self._process.kill()
            self._process.wait()
