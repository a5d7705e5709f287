"""What is raised past every `except Exception` costs its tests, and is said with its line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lessons.harness.escapes import Escape, contained, named, no_way_out
from lessons.harness.loop import Loop
from tests.golden import DONE, LOGIN, copy_workbook, edit
from tests.judge import ENVIRONMENT, run_pytest

START = "    user = await users.get(username)\n"
BESIDE = "    import asyncio\n    async def beside(): raise SystemExit(8)\n"

RAISED = {
    "sys.exit": ("    import sys; sys.exit('no such user')\n", "SystemExit: no such user"),
    "exit": ("    exit(2)\n", "SystemExit: 2"),
    "KeyboardInterrupt": ("    raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "os._exit": ("    import os; os._exit(0)\n", "os._exit: 0"),
    "cancelled": ("    import asyncio; raise asyncio.CancelledError\n", "CancelledError"),
    "cancels itself": (
        "    import asyncio; asyncio.current_task().cancel(); await asyncio.sleep(0)\n",
        "CancelledError",
    ),
    "a generator's": ("    raise GeneratorExit\n", "GeneratorExit"),
    "recursion": (
        "    def again(): return again()\n    again()\n",
        "RecursionError: maximum recursion depth exceeded",
    ),
    "its own": ("    class Oops(BaseException): ...\n    raise Oops('x')\n", "Oops: x"),
    "stop": ("    next(iter([]))\n", "StopIteration"),
    "pytest's exit": ("    import pytest; pytest.exit('enough')\n", "Exit: enough"),
    "pytest's skip": ("    import pytest; pytest.skip('enough')\n", "Skipped: enough"),
    "in a thread": ("    import anyio, sys; await anyio.to_thread.run_sync(sys.exit, 9)\n",
                    "SystemExit: 9"),
    "in a task": (
        f"{BESIDE}    task = asyncio.create_task(beside()); await asyncio.sleep(1)\n",
        "SystemExit: 8",
    ),
    "in a group": (
        f"{BESIDE}    async with asyncio.TaskGroup() as group: group.create_task(beside())\n",
        "SystemExit: 8",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raising", "told"), RAISED.values(), ids=RAISED)
def test_what_was_raised_and_where_at_once(raising: str, told: str, tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    edit(LOGIN, (START, raising + START), first=DONE)(tmp_path)
    # With one second of patience each wait for what never comes would be seen.
    edit(Path("lessons/harness/limit.py"), ("\nBUSY = 6 ", "\nBUSY = 1 "))(tmp_path)
    done = run_pytest("lessons/03", folder=tmp_path)
    printed = " ".join(done.stdout.split())
    assert f"> {told} (lessons/03_login/login.py:" in printed, done.stdout
    assert "\nLesson 03 login   0 of 15 " in done.stdout, "Not all tests were run."
    assert "did not come to an end" not in done.stdout
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize("raising", ["KeyboardInterrupt", "__import__('os')._exit(0)"])
def test_on_import(raising: str, tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    edit(LOGIN, ("import secrets\n", f"import secrets\nif True: raise {raising}\n"))(tmp_path)
    done = run_pytest("lessons/03", folder=tmp_path)
    assert "login.py:" in done.stdout and "fails on import: " in done.stdout, done.stdout
    assert "\nnext   mend lessons/03_login/login.py" in done.stdout
    assert done.returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals.")
def test_ctrl_c_still_ends_the_run(tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    began = tmp_path / "began"
    endless = f"    open({str(began)!r}, 'w').close()\n    while True: pass\n"
    edit(LOGIN, (START, endless + START), first=DONE)(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "lessons/03", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        while not began.exists():
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        printed, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert "did not come to an end" not in printed
    assert "1 of 1" not in printed, "A test that was cut off has not passed."


def test_a_loop_goes_on_after_a_task_that_ended_it() -> None:
    import asyncio

    loop = Loop()

    async def leave() -> None:
        sys.exit(3)

    async def crowd() -> None:
        await asyncio.gather(*(leave() for _ in range(4)))

    async def answer() -> int:
        return 42

    for _ in range(2):
        with pytest.raises(Escape) as caught:
            loop.run(crowd())
        assert isinstance(named(caught.value), SystemExit)
        assert loop.run(answer()) == 42
    loop.close()


def test_a_cancellation_from_outside_is_no_escape() -> None:
    import asyncio

    async def sleep() -> None:
        with contained():
            await asyncio.sleep(60)

    async def cut_off() -> str:
        task = asyncio.create_task(sleep())
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
        return "ended"

    assert asyncio.run(cut_off()) == "cancelled"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="This system does not fork.")
def test_a_fork_may_leave() -> None:
    with no_way_out():
        child = os.fork()
        if child == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
