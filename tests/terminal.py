"""A learner's terminal, in which pytest watches a lesson."""

import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.golden import LOGIN
from tests.judge import ENVIRONMENT
from tests.processes import PATIENCE

try:
    import pty
    import termios
except ImportError:  # Windows has no such terminals
    pty = None  # type: ignore[assignment]

WATCH = (sys.executable, "-m", "pytest", "lessons/03", "--watch")


class Terminal:
    """Begins to watch lesson 03 of the workbook in `folder`, or runs another command there."""

    def __init__(self, folder: Path, *command: str, **env: str) -> None:
        self.folder = folder
        self.process, self._screen = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            command = command or WATCH
            os.execve(command[0], command, ENVIRONMENT | {"NO_COLOR": "1"} | env)

    def until(self, text: str) -> str:
        """Read the screen until `text` stands there."""
        seen, end = "", time.monotonic() + PATIENCE
        while text not in seen:
            assert time.monotonic() < end, f"No {text!r} in:\n{seen}"
            if select.select([self._screen], [], [], 0.1)[0]:
                seen += os.read(self._screen, 65536).decode()
        return seen

    def has_echo(self) -> bool:
        """Return whether the terminal shows what one types."""
        return bool(self.modes()[3] & termios.ECHO)

    def modes(self) -> list[Any]:
        """Return the settings of the terminal."""
        return termios.tcgetattr(self._screen)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def save(self, old: str, new: str, file: Path = LOGIN) -> None:
        path = self.folder / file
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    def is_left(self) -> bool:
        """Wait until the process is gone, and return whether it has left nothing behind."""
        end = time.monotonic() + PATIENCE
        while os.waitpid(self.process, os.WNOHANG)[0] == 0:
            assert time.monotonic() < end, "It is still there."
            if select.select([self._screen], [], [], 0.1)[0]:
                with suppress(OSError):  # Linux says so at the end of a terminal
                    os.read(self._screen, 65536)
        while left := processes_of(self.folder):
            if time.monotonic() > end:
                break
            time.sleep(0.05)  # after a SIGKILL its children end by themselves
        return not left


def processes_of(folder: Path) -> list[tuple[int, str]]:
    """Return number and command line of the processes that run in a copy of the workbook."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    )
    lines = [line for line in listed.stdout.splitlines() if str(folder) in line]
    return [(int(number), args) for number, args in (line.split(None, 1) for line in lines)]
