"""Grades a hand-in in processes of its own, and believes of it what the witness has seen."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from lessons.harness.catalogue import ROOT, Lesson, find_lessons
from lessons.harness.family import TOO_LONG
from lessons.harness.fresh_copy import Originals
from lessons.harness.grade import Grade
from lessons.harness.testimony import Words, judge, understand
from lessons.harness.walls import ALONE

PATIENCE = 60  # seconds for a lesson, whatever happens in it; a right one takes two or three
MOST = 1 << 20  # bytes that are listened to; a witness says a hundredth of that
GIVEN = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # no secrets


class Grader:
    """Grades files, as many at once as there are threads that ask.

    `private` is a folder that no hand-in may read. `is_shut_off` says whether this system lets one
    run without a network, other processes and files to write to.
    """

    def __init__(self, private: Path) -> None:
        self.originals = Originals()
        self._hidden = [str(each) for each in (private, *ROOT.iterdir()) if _can_be_hidden(each)]
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = False
        self.is_shut_off = shutil.which(ALONE[0]) is not None
        if self.is_shut_off:  # only a trial shows it
            self.is_shut_off = bool(self.grade(find_lessons()[0], b"").verdicts)

    def grade(self, lesson: Lesson, text: bytes) -> Grade:
        """Run a lesson's tests on the text of a file."""
        name = lesson.starter.name
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            copy = Path(folder).resolve()
            beside = {Path("hand_in", name): text, Path("tmp", "empty"): b""}
            self.originals.lay_out(copy, lesson, beside)
            tests = lesson.folder.relative_to(ROOT).as_posix()
            options = ("-s", "-p", "no:cacheprovider", "--tb=line", f"--candidate=hand_in/{name}")
            code, said = self._run(copy, [tests, *options])
        return judge(name, code, said)

    def stop(self) -> None:
        """End what is running, and begin no more."""
        self._is_stopped = True
        for process in tuple(self._running):
            process.kill()

    def _run(self, copy: Path, arguments: list[str]) -> tuple[int, list[Words]]:
        """Run pytest in a copy. Return the exit code, and what the witness said."""
        secret = secrets.token_hex()
        order = {
            "secret": secret,
            "shut off": self.is_shut_off,
            "hidden": self._hidden,
            "seconds": PATIENCE,
            "pytest": arguments,
        }
        heard = bytearray()
        process = self._begin(copy, order)
        ear = threading.Thread(target=_listen, args=(process.stdout, heard), daemon=True)
        ear.start()
        code = TOO_LONG
        try:
            code = process.wait(PATIENCE + 10)
        except subprocess.TimeoutExpired:  # what watches inside was stopped
            pass
        finally:
            groups = [word["group"] for word in understand(heard, secret) if "group" in word]
            for group in (process.pid, *groups):
                _kill_group(group)
            process.kill()
            process.wait()
            self._running.discard(process)
            ear.join(5)
        return code, understand(heard, secret)

    def _begin(self, copy: Path, order: Words) -> subprocess.Popen[bytes]:
        given = {name: os.environ[name] for name in GIVEN if name in os.environ}
        folders = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP"), str(copy / "tmp"))
        program = [sys.executable, "-P", str(copy / "lessons" / "harness" / "sandbox.py")]
        process = subprocess.Popen(  # noqa: S603
            [*(ALONE if self.is_shut_off else ()), *program],
            cwd=copy,
            env={**given, **folders, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the teacher's process, and so is its end
        )
        self._running.add(process)
        if self._is_stopped:
            process.kill()
        with suppress(OSError), process.stdin as orders:  # type: ignore[union-attr]
            orders.write(json.dumps(order).encode() + b"\n")
        return process


def _can_be_hidden(folder: Path) -> bool:
    """Tell whether Python needs nothing of what is in a folder."""
    needed = (sys.prefix, sys.base_prefix, tempfile.gettempdir(), *filter(None, sys.path))
    inside = (Path(each).resolve().is_relative_to(folder.resolve()) for each in needed)
    return folder.is_dir() and not any(inside)


def _listen(pipe: IO[bytes], heard: bytearray) -> None:
    while said := os.read(pipe.fileno(), 65536):
        heard += said[: MOST - len(heard)]


def _kill_group(number: int) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)
