"""The limit ends what would not end, and nothing else."""

import os
import re
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from lessons.harness import limit
from lessons.harness.catalogue import ROOT
from tests.golden import DONE, LOGIN, copy_workbook, edit
from tests.judge import run_pytest
from tests.terminal import Terminal

ENDLESS = {
    "in a function": "    while True: pass\n",
    "asleep": "    import time; time.sleep(3600)\n",
    "catching all": (
        "    while True:\n        try:\n            while True: pass\n"
        "        except BaseException: pass\n"
    ),
    "catching all, and calling something": (
        "    import time\n    while True:\n        try:\n            time.sleep(0.001)\n"
        "        except BaseException: pass\n"
    ),
    "in a thread": (
        "    import threading; t = threading.Thread(target=lambda: [0 for _ in iter(int, 1)])\n"
        "    t.start(); t.join()\n"
    ),
}


@pytest.mark.parametrize("loop", ENDLESS.values(), ids=ENDLESS)
def test_one_sentence_and_the_screen(loop: str, tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    DONE(tmp_path)
    start = "    user = await users.get(username)\n"
    edit(LOGIN, (start, loop + start))(tmp_path)
    edit(Path("lessons/harness/limit.py"), ("\nSECONDS = 10 ", "\nSECONDS = 0.5 "))(tmp_path)
    done = run_pytest("lessons/03", folder=tmp_path)
    assert done.returncode in (1, limit.GAVE_UP)
    assert "login.py:" in done.stdout and "did not come to an end." in done.stdout, done.stdout
    assert "\nnext   mend lessons/03_login/login.py" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


START = "    user = await users.get(username)\n"
WAITING = {
    "a lock held over an await": (
        "    import asyncio, threading\n"
        "    lock = vars(asyncio).setdefault('of_a_test', threading.Lock())\n"
        "    async def both():\n        with lock:\n            await asyncio.sleep(0)\n"
        "    await asyncio.gather(both(), both())\n",
        "        with lock:\n",
    ),
    "an event that nobody sets": (
        "    import asyncio\n    await asyncio.Event().wait()\n",
        "    await asyncio.Event().wait()\n",
    ),
    "a thread that waits": (
        "    import anyio, threading\n"
        "    await anyio.to_thread.run_sync(lambda:\n        threading.Event().wait())\n",
        "        threading.Event().wait())\n",
    ),
}


@pytest.mark.parametrize(("wait", "at"), WAITING.values(), ids=WAITING)
def test_what_waits_is_no_loop(wait: str, at: str, tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    edit(LOGIN, (START, wait + START), first=DONE)(tmp_path)
    edit(Path("lessons/harness/limit.py"), ("\nSECONDS = 10 ", "\nSECONDS = 3 "))(tmp_path)
    done = run_pytest("lessons/03", folder=tmp_path)
    text = (tmp_path / LOGIN).read_text()
    line = text[: text.index(at)].count("\n") + 1
    said = f"{LOGIN.as_posix()}:{line} did not come to an end. It computes nothing, it waits"
    assert said in " ".join(done.stdout.split()), done.stdout
    assert "Is there a loop" not in done.stdout
    assert done.returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals.")
@pytest.mark.parametrize("loop", [ENDLESS["in a function"], ENDLESS["in a thread"]])
def test_who_waits_is_told_what_runs(loop: str, tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    edit(LOGIN, (START, loop + START), first=DONE)(tmp_path)
    terminal = Terminal(tmp_path, sys.executable, "-m", "pytest", "lessons/03")
    seen = terminal.until("(Ctrl-C ends it)")
    assert seen.splitlines()[-1].startswith("still running: test_"), seen
    terminal.type("\x03")
    seen = terminal.until("no tests ran")
    assert "still running" not in seen
    assert "did not come to an end" not in seen
    assert terminal.is_left()


def test_a_log_is_told_once(tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    edit(LOGIN, (START, f"    import time; time.sleep(0.2)\n{START}"), first=DONE)(tmp_path)
    edit(Path("lessons/harness/limit.py"), ("\nSILENT = 2 ", "\nSILENT = 0.1 "))(tmp_path)
    slow = ("test_a_wrong_password_is_a_401", "test_who_registers_can_log_in")
    done = run_pytest(*(f"lessons/03::{name}" for name in slow), folder=tmp_path)
    assert len(re.findall(r"^still running: test_\w+ \(Ctrl-C ends it\)$", done.stdout, re.M)) == 1


@pytest.mark.parametrize(
    ("waited", "worked", "kept", "a_second_ago", "waits_on"),
    [
        (10, 5, 0, 0, True),  # half of the processor is somebody else's
        (12, 6, 0, 5.5, True),
        (30, 0.1, 20, 19.2, True),  # nearly all of it is
        (10, 9.5, 0, 0, False),  # had its time
        (10, 0.1, 0, 0, False),  # asleep
        (12, 5, 3, 8, False),  # asleep since then
        (18, 9.5, 0, 9, False),
        (61, 5, 50, 54, False),
    ],
)
def test_a_busy_machine_gives_more_time(
    monkeypatch: pytest.MonkeyPatch,
    waited: float,
    worked: float,
    kept: float,
    a_second_ago: float,
    waits_on: bool,
) -> None:
    clock = SimpleNamespace(perf_counter=lambda: waited, process_time=lambda: worked)
    monkeypatch.setattr(limit, "time", clock)
    monkeypatch.setattr(limit, "_kept_waiting", lambda: kept)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    watch = limit.Limit()
    watch._wanted = a_second_ago
    with nullcontext() if waits_on else pytest.raises(limit.Endless):
        watch._strike(0, None)
    assert watch.struck is not waits_on


@pytest.mark.skipif(not limit.THREADS.exists(), reason="Only Linux tells.")
def test_threads_that_would_run_are_kept_waiting() -> None:
    """Two on one processor: one of them waits."""
    script = (
        "import os, time; from lessons.harness.limit import _kept_waiting\n"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "end = time.monotonic() + 1\n"
        "child = os.fork()\n"
        "while time.monotonic() < end: pass\n"
        "os.write(1, f'{_kept_waiting()}\\n'.encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(float(line) > 0.2 for line in done.stdout.split()), done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux has priorities for threads.")
def test_no_hash_gives_way_in_a_lesson(tmp_path: Path) -> None:
    """Beside a busy program it would get no time, and a right file would be called endless."""
    file = tmp_path / "hashing.py"
    hashes = "    hashed: str ="
    look = (
        "    import os, threading\n"
        "    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())\n"
        "    assert own == os.getpriority(os.PRIO_PROCESS, os.getpid())\n"
    )
    text = (ROOT / "solutions" / "hashing.py").read_text("utf-8").replace(hashes, look + hashes)
    assert look in text
    file.write_text(text, "utf-8")
    done = run_pytest("lessons/01", f"--candidate={file}", "-k", "can_register")
    assert "1 passed" in done.stdout, done.stdout
