"""`--watch` in a terminal: it runs at a save, the last one wins, Ctrl-C leaves at once."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessons.harness import watch
from lessons.harness.watch import WAITING
from tests.golden import DONE, LOGIN, copy_workbook
from tests.terminal import Terminal, processes_of, pty

if pty is None:
    pytest.skip("This system has no terminals of that kind.", allow_module_level=True)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    copy_workbook(tmp_path)
    DONE(tmp_path)
    terminal = Terminal(tmp_path)
    terminal.until(WAITING)
    yield terminal
    try:
        os.kill(terminal.process, signal.SIGKILL)
        os.waitpid(terminal.process, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_it_runs_at_every_save_of_every_file(terminal: Terminal) -> None:
    terminal.save('"Cache-Control"', '"X-Cache"')
    assert "attacks: 10 refused, 1 open" in terminal.until(WAITING)
    terminal.save('"X-Cache"', '"Cache-Control"')
    assert "attacks: 11 refused" in terminal.until(WAITING)
    terminal.save("MAX_TOKEN_CHARACTERS = 8192", "1 / 0", Path("solutions", "tokens.py"))
    assert "ZeroDivisionError" in terminal.until(WAITING)
    terminal.save("1 / 0", "MAX_TOKEN_CHARACTERS = 8192", Path("solutions", "tokens.py"))
    terminal.until(WAITING)
    given = Path(
        "solutions", "support", "safe_route.py"
    )  # imported before there is a save to wait for
    terminal.save("from ", "import nothing_of_that_name\nfrom ", given)
    assert "nothing_of_that_name" in terminal.until(WAITING)
    terminal.save("import nothing_of_that_name\n", "", given)
    terminal.until(WAITING)
    terminal.save("Cache-Control: no-store is missing.", "Gone.", LOGIN.with_name("test_login.py"))
    terminal.until(WAITING)
    terminal.save('"next   ', '"after  ', Path("lessons", "harness", "screen.py"))
    assert "15 of 15" in terminal.until(WAITING)


def test_the_last_save_wins_over_a_loop_without_an_end(terminal: Terminal) -> None:
    start = "    user = await users.get(username)\n"
    terminal.save(start, f"    while True: pass\n{start}")
    terminal.until("collected")
    terminal.save("    while True: pass\n", "")
    assert "attacks: 11 refused" in terminal.until(WAITING)


def test_a_breakpoint_opens_the_debugger(terminal: Terminal) -> None:
    before = terminal.modes()
    start = "    user = await users.get(username)\n"
    terminal.save(start, f"    breakpoint()\n{start}")
    terminal.until("(Pdb) ")
    terminal.type("p username\n")
    assert "'johndoe'" in terminal.until("(Pdb) ")
    terminal.save("    breakpoint()\n", "")
    assert "attacks: 11 refused" in terminal.until(WAITING)
    assert terminal.modes() == before


def test_ctrl_c_leaves_a_debugger_that_went_on(terminal: Terminal) -> None:
    """`continue` catches Ctrl-C for itself, and the loop after it never ends."""
    start = "    user = await users.get(username)\n"
    terminal.save(start, f"    breakpoint()\n    while True: pass\n{start}")
    terminal.until("(Pdb) ")
    terminal.type("c\n")
    terminal.until("c\r\n")
    terminal.type("\x03")
    assert terminal.is_left()


def test_a_run_that_died_before_its_order_costs_one_save(terminal: Terminal) -> None:
    warm: list[int] = []
    while len(warm) < 2:  # itself, and the run that it makes ahead
        processes = processes_of(terminal.folder)
        warm = sorted(number for number, line in processes if "warm.py" in line)
    os.kill(warm[-1], signal.SIGKILL)
    terminal.save('"Cache-Control"', '"X-Cache"')
    assert "Traceback" not in terminal.until(WAITING)
    terminal.save('"X-Cache"', '"Cache-Control"')
    assert "attacks: 11 refused" in terminal.until(WAITING)


def test_the_rehearsal_is_not_seen(tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    terminal = Terminal(tmp_path, PYTEST_ADDOPTS="--solutions")
    printed = terminal.until(WAITING)
    terminal.type("\x03")
    assert terminal.is_left()
    assert "15 of 15" in printed and "ERROR" not in printed, printed


def test_ctrl_c_leaves_at_once_and_leaves_nothing(terminal: Terminal) -> None:
    assert processes_of(terminal.folder)
    terminal.type("\x03")
    assert terminal.is_left()


def test_so_does_a_kill(terminal: Terminal) -> None:
    os.kill(terminal.process, signal.SIGKILL)
    assert terminal.is_left()


def test_colours_are_there_unless_nobody_wants_them(tmp_path: Path) -> None:
    copy_workbook(tmp_path)
    for env, coloured in (({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        terminal = Terminal(tmp_path, TERM="xterm", **env)
        printed = terminal.until(WAITING)
        assert ("\x1b[33m" in printed) == coloured, printed
        terminal.type("\x03")
        assert terminal.is_left()


def test_without_a_fork_it_says_so_and_runs_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import watchfiles

    def no_changes(*paths: Path, **options: object) -> Iterator[set[object]]:
        for _ in range(300):
            yield set()  # a tenth of a second without a change
            printed.append(capfd.readouterr().out)
            if WAITING in "".join(printed):
                raise KeyboardInterrupt
            time.sleep(0.1)

    printed: list[str] = []
    monkeypatch.setattr(watch, "CAN_FORK", False)
    monkeypatch.setattr(watchfiles, "watch", no_changes)
    assert watch.watch(["lessons/03", "--solutions", "-p", "no:cacheprovider"], None) == 0
    assert watch.NO_FORK in "".join(printed)
    assert "Lesson 03 login   15 of 15" in "".join(printed)
