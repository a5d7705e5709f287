"""The keys under `--watch`: h shows hints, r brings the starter back; the terminal stays whole."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lessons.harness.catalogue import ROOT, find_lessons
from lessons.harness.hints import hint
from lessons.harness.watch import KEYS, MORE_KEYS, NO_KEYS, SURE, WAITING
from tests.everyday import IS_EVERYDAY
from tests.golden import DONE, LOGIN, copy_workbook
from tests.judge import ENVIRONMENT
from tests.processes import PATIENCE
from tests.terminal import WATCH, Terminal, processes_of, pty

if pty is None:
    pytest.skip("This system has no terminals of that kind.", allow_module_level=True)

LESSON = next(lesson for lesson in find_lessons() if lesson.slug == "login")
STARTER = (ROOT / LOGIN).read_text("utf-8")
UNCLEAR = [["lessons/03", "--naive"], ["lessons/03", "--solutions"], ["lessons"]]
KEPT = LOGIN.with_name("login.before-reset-1.py")
FIRST, MORE = ("\r\n".join(hint(LESSON, 1, more)) for more in (False, True))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Open terminals in a copy of the workbook, which has lesson 03 as its starter."""
    copy_workbook(tmp_path)
    terminals: list[Terminal] = []

    def open_one(*command: str) -> Terminal:
        terminals.append(Terminal(tmp_path, *command))
        return terminals[-1]

    yield open_one
    for terminal in terminals:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(terminal.process, signal.SIGKILL)
            os.waitpid(terminal.process, 0)


def test_h_shows_the_hint_and_again_the_stronger_one(start: Callable[..., Terminal]) -> None:
    terminal = start()
    assert FIRST not in terminal.until(KEYS)
    terminal.type("h")
    assert FIRST in terminal.until(MORE_KEYS)
    for _ in range(2):  # there is no third one
        terminal.type("h")
        seen = terminal.until(MORE_KEYS)
        assert MORE in seen and FIRST not in seen
    terminal.save("import secrets\n", "import secrets\n\n")
    assert "\nhint   " not in terminal.until(KEYS)
    terminal.type("h")
    assert FIRST in terminal.until(MORE_KEYS), "After a save it begins with the first one."


def test_r_resets_only_when_it_is_pressed_twice(start: Callable[..., Terminal]) -> None:
    terminal = start()
    DONE(terminal.folder)
    terminal.until(KEYS)
    terminal.save("import secrets\n", "import secrets  # mine\n")
    mine = (terminal.folder / LOGIN).read_text("utf-8")
    assert "15 of 15" in terminal.until(KEYS)
    terminal.type("r")
    terminal.until(SURE)
    terminal.type("x")  # another key: not sure
    time.sleep(0.3)  # two looks: keys that come at once are no keys
    terminal.type("r")
    terminal.until(SURE)
    assert (terminal.folder / LOGIN).read_text("utf-8") == mine
    terminal.type("r")
    seen = terminal.until(KEYS)
    assert "0 of 15" in seen
    assert f"back   rename {KEPT} to login.py" in seen
    assert (terminal.folder / LOGIN).read_text("utf-8") == STARTER
    assert (terminal.folder / KEPT).read_text("utf-8") == mine


def test_where_there_is_nothing_to_reset_r_says_so(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.until(KEYS)
    terminal.type("r")
    terminal.until(SURE)
    terminal.type("r")
    terminal.until("is the starter already. Nothing was changed.")
    assert not (terminal.folder / KEPT).exists()
    terminal.save("import secrets\n", "import secrets\n\n")
    assert "already" not in terminal.until(KEYS)


def test_a_paste_and_an_arrow_are_no_keys(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.until(KEYS)
    for typed in ("error", "\x1bOr", "for r in her:\n"):
        terminal.type(typed)
        time.sleep(0.3)
    terminal.type("h")
    seen = terminal.until(MORE_KEYS)
    assert SURE not in seen
    assert "error" not in seen, "Nothing is echoed."


def test_the_debugger_has_the_terminal_for_itself(start: Callable[..., Terminal]) -> None:
    """What is typed there is no key, and is echoed; also in a run that a key or a save began."""
    terminal = start()
    DONE(terminal.folder)
    terminal.until(KEYS)
    line = "    user = await users.get(username)\n"
    for _ in range(2):
        terminal.save(line, f"    breakpoint()\n{line}")
        terminal.until("(Pdb) ")
        terminal.type("mine = 'h' * 3\n")
        assert "mine = 'h' * 3\r\n" in terminal.until("(Pdb) ")
        terminal.type("p mine\n")
        assert "'hhh'" in terminal.until("(Pdb) ")
        terminal.type("r")  # and no Enter
        terminal.save("    breakpoint()\n", "")
        assert SURE not in terminal.until(KEYS)
        assert not terminal.has_echo()
    terminal.type("r")
    terminal.until(SURE)


@pytest.mark.parametrize("way", ["ctrl-c", "SIGTERM", "SIGKILL"])
def test_the_terminal_is_left_as_it_was(way: str, start: Callable[..., Terminal]) -> None:
    """Below a shell that does not see to it. A kill -9 is noticed by the warm process."""
    watch = shlex.join(WATCH)
    inner = shlex.quote(f"echo $$ >number; exec {watch}")
    terminal = start("/bin/sh", "-c", f"trap : INT; echo began; sh -c {inner}; echo ended; read x")
    terminal.until("began")
    before = terminal.modes()
    terminal.until(KEYS)
    assert terminal.modes() != before
    if way == "ctrl-c":
        terminal.type("\x03")
    else:
        os.kill(int((terminal.folder / "number").read_text()), getattr(signal, way))
    terminal.until("ended")
    end = time.monotonic() + PATIENCE
    while terminal.modes() != before or processes_of(terminal.folder):
        assert time.monotonic() < end, (terminal.modes(), before, processes_of(terminal.folder))
        time.sleep(0.05)


@pytest.mark.parametrize("arguments", UNCLEAR[: 2 if IS_EVERYDAY else 3])
def test_where_it_is_not_clear_whose_hint_there_are_no_keys(
    arguments: list[str], start: Callable[..., Terminal]
) -> None:
    terminal = start(sys.executable, "-m", "pytest", *arguments, "--watch")
    assert "h hint" not in terminal.until(NO_KEYS)
    assert terminal.has_echo()
    terminal.type("\x03")
    assert terminal.is_left()


def test_without_a_terminal_there_are_no_keys(tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    with subprocess.Popen(
        WATCH,
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write("hhrr\n")
        process.stdin.flush()
        seen = ""
        while NO_KEYS not in seen:
            seen += (line := process.stdout.readline())
            assert line, seen
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert "0 of 15" in seen and "\nhint   " not in seen
    assert (tmp_path / LOGIN).read_text("utf-8") == STARTER


def test_the_keys_stand_in_one_line_of_the_screen() -> None:
    assert KEYS == "keys   h hint   r reset   Ctrl-C end"
    for line in (KEYS, MORE_KEYS, NO_KEYS, SURE, WAITING):
        assert re.fullmatch(r"[ -~]{1,80}", line)
