"""`--watch` in a terminal: it runs at a save, the last one wins, Ctrl-C leaves at once."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessons.harness.watch import HINT
from tests.golden import DONE, LOGIN, copy_workbook
from tests.judge import ENVIRONMENT

PATIENCE = 30  # seconds
VERDICT = "Lesson 03 login"
pty = pytest.importorskip("pty", reason="Windows has no such terminals")


class Terminal:
    """A learner's terminal in which pytest watches a lesson."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process, self._screen = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            command = [sys.executable, "-m", "pytest", "lessons/03", "--watch"]
            os.execve(sys.executable, command, ENVIRONMENT | {"NO_COLOR": "1"})

    def until(self, text: str) -> str:
        """Read the screen until `text` stands there."""
        seen, end = "", time.monotonic() + PATIENCE
        while text not in seen:
            assert time.monotonic() < end, f"No {text!r} in:\n{seen}"
            if select.select([self._screen], [], [], 0.1)[0]:
                seen += os.read(self._screen, 65536).decode()
        return seen

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def save(self, old: str, new: str, file: Path = LOGIN) -> None:
        path = self.folder / file
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    def is_left(self) -> bool:
        """Wait until the process is gone, and return whether it has left nothing behind."""
        with pytest.raises(OSError):  # noqa: PT012
            while os.read(self._screen, 65536):
                pass
        os.waitpid(self.process, 0)
        return not _processes_of(self.folder)


def _processes_of(folder: Path) -> list[str]:
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.splitlines() if str(folder) in line]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    copy_workbook(tmp_path)
    DONE(tmp_path)
    terminal = Terminal(tmp_path)
    terminal.until(HINT)
    yield terminal
    try:
        os.kill(terminal.process, signal.SIGKILL)
        os.waitpid(terminal.process, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_it_runs_at_every_save_of_every_file(terminal: Terminal) -> None:
    terminal.save('"Cache-Control"', '"X-Cache"')
    assert "attacks: 9 refused, 1 open" in terminal.until(HINT)
    terminal.save('"X-Cache"', '"Cache-Control"')
    assert "attacks: 10 refused" in terminal.until(HINT)
    terminal.save("MAX_TOKEN_CHARACTERS = 8192", "1 / 0", Path("solutions", "tokens.py"))
    assert "ZeroDivisionError" in terminal.until(HINT)
    terminal.save("1 / 0", "MAX_TOKEN_CHARACTERS = 8192", Path("solutions", "tokens.py"))
    terminal.until(HINT)
    terminal.save("Cache-Control: no-store is missing.", "Gone.", LOGIN.with_name("test_login.py"))
    terminal.until(HINT)
    terminal.save('"next   ', '"after  ', Path("lessons", "harness", "screen.py"))
    assert "14 of 14" in terminal.until(HINT)


def test_the_last_save_wins_over_a_loop_without_an_end(terminal: Terminal) -> None:
    start = "    user = users.get(username)\n"
    terminal.save(start, f"    while True: pass\n{start}")
    terminal.until("collected")
    terminal.save("    while True: pass\n", "")
    assert "attacks: 10 refused" in terminal.until(HINT)


def test_a_breakpoint_opens_the_debugger(terminal: Terminal) -> None:
    start = "    user = users.get(username)\n"
    terminal.save(start, f"    breakpoint()\n{start}")
    terminal.until("(Pdb) ")
    terminal.type("p username\n")
    assert "'johndoe'" in terminal.until("(Pdb) ")
    terminal.save("    breakpoint()\n", "")
    assert "attacks: 10 refused" in terminal.until(HINT)


def test_ctrl_c_leaves_at_once_and_leaves_nothing(terminal: Terminal) -> None:
    assert _processes_of(terminal.folder)
    terminal.type("\x03")
    assert terminal.is_left()


def test_so_does_a_kill(terminal: Terminal) -> None:
    os.kill(terminal.process, signal.SIGKILL)
    assert terminal.is_left()
