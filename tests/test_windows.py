"""What Windows has not, taken away here: no fork, no signals of that kind, no Unix modules.

What asks for `sys.platform` still sees this system, and paths are Windows' own matter: for those
the workflow runs the lessons there.
"""

import shutil
from pathlib import Path

import pytest

from lessons.harness.catalogue import ROOT, find_lessons
from tests.judge import run_pytest
from tests.test_command_line import check_screen

# Libraries keep what they need on this system; our own files do not see it.
AS_ON_WINDOWS = f"""
import builtins, os, signal, time
GONE = {{"crypt", "fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}}
OURS = tuple({str(ROOT)!r} + "/" + name for name in ("conftest", "lessons", "solutions", "tests"))
find = builtins.__import__


def import_as_on_windows(name, globals=None, locals=None, fromlist=(), level=0):
    if name in GONE and str((globals or {{}}).get("__file__")).startswith(OURS):
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return find(name, globals, locals, fromlist, level)


builtins.__import__ = import_as_on_windows
for module, names in {{
    os: "fork forkpty getpgid getpgrp getuid geteuid killpg mkfifo setpgid setsid uname",
    signal: "SIGALRM SIGHUP SIGUSR1 alarm pthread_kill pthread_sigmask setitimer sigwait",
    time: "tzset",
}}.items():
    for name in names.split():
        delattr(module, name)
"""


@pytest.fixture
def windows(tmp_path: Path) -> dict[str, str]:
    """An environment whose Python begins without these things, and warns of a missing encoding."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "sitecustomize.py").write_text(AS_ON_WINDOWS)
    return {
        "PATH": "",  # nor `unshare`
        "PYTHONPATH": str(tmp_path / "beside"),
        "PYTHONIOENCODING": "cp1252",
        "PYTHONWARNDEFAULTENCODING": "1",  # our own code's warnings are errors
    }


def test_they_are_gone(windows: dict[str, str], tmp_path: Path) -> None:
    """Else the tests below would show nothing."""
    asks = tmp_path / "test_asks.py"
    asks.write_text(
        "import os, signal\n"
        "def test_it():\n"
        "    assert not hasattr(os, 'fork') and not hasattr(signal, 'SIGALRM')\n"
        "    from lessons.harness import keys, walls\n"
        "    assert keys.termios is None and walls.resource is None\n"
    )
    done = run_pytest(
        str(asks), f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml"), env=windows
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_learner_s_first_screen(windows: dict[str, str]) -> None:
    done = run_pytest("lessons/01", env=windows)
    assert done.returncode == 1
    check_screen(done.stdout)
    assert "Lesson 01 hashing   0 of " in done.stdout
    assert done.stderr == ""


def test_all_lessons_are_green_with_the_references(windows: dict[str, str]) -> None:
    done = run_pytest("lessons", "--solutions", env=windows)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  done") == len(find_lessons())


def test_a_class_is_graded(windows: dict[str, str], tmp_path: Path) -> None:
    anna = tmp_path / "class" / "anna"
    anna.mkdir(parents=True)
    shutil.copy(ROOT / "solutions" / "hashing.py", anna)
    done = run_pytest("lessons/01", f"--candidate-dir={anna.parent}", env=windows)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("anna")]
    assert line.endswith("  done"), done.stdout + done.stderr


def test_a_file_with_windows_line_ends_is_graded(windows: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "hashing.py"
    text = (ROOT / "solutions" / "hashing.py").read_text("utf-8")
    file.write_bytes(text.replace("\n", "\r\n").encode())
    done = run_pytest("lessons/01", f"--candidate={file}", env=windows)
    assert "Lesson 01 hashing   15 of 15" in done.stdout, done.stdout + done.stderr
