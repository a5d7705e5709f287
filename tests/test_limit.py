"""The limit ends what would not end, and nothing else."""

import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from lessons.harness import limit
from tests.golden import DONE, LOGIN, copy_workbook, edit
from tests.judge import run_pytest

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


@pytest.mark.parametrize(
    ("waited", "worked", "a_second_ago", "waits_on"),
    [
        (10, 5, 0, True),  # half of the processor is somebody else's
        (12, 6, 5.5, True),
        (10, 9.5, 0, False),  # had its time
        (10, 0.1, 0, False),  # asleep
        (12, 5, 5, False),  # asleep since then
        (18, 9.5, 9, False),
        (31, 5, 4.5, False),
    ],
)
def test_a_busy_machine_gives_more_time(
    monkeypatch: pytest.MonkeyPatch,
    waited: float,
    worked: float,
    a_second_ago: float,
    waits_on: bool,
) -> None:
    clock = SimpleNamespace(perf_counter=lambda: waited, process_time=lambda: worked)
    monkeypatch.setattr(limit, "time", clock)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    watch = limit.Limit()
    watch._worked = a_second_ago
    with nullcontext() if waits_on else pytest.raises(limit.Endless):
        watch._strike(0, None)
    assert watch.struck is not waits_on
