"""From a save to the verdict with `--watch`, beside a cold run: `python -m tests.watch_benchmark`.

They take turns, so that a busy machine slows both, and the ratio of the medians counts. A save
counts from before the file is written until the learner's screen stands there. Goal: 0.35.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lessons.harness.watch import WAITING
from tests.golden import DONE, LOGIN, copy_workbook
from tests.judge import ENVIRONMENT
from tests.terminal import Terminal

GOAL = 0.35
RUNS = 11
VERDICT = "Lesson 03 login"


def main() -> bool:
    """Print the ratio; return whether it misses the goal."""
    with tempfile.TemporaryDirectory() as folder:
        copy_workbook(Path(folder))
        DONE(Path(folder))
        terminal = Terminal(Path(folder))
        terminal.until(WAITING)
        pairs = [(_save(terminal, run), _cold(Path(folder))) for run in range(RUNS + 1)]
        terminal.type("\x03")
        terminal.is_left()
    saved, cold = (statistics.median(side) for side in zip(*pairs[1:], strict=True))
    print(f"{saved / cold:.2f} = {saved:.2f} s / {cold:.2f} s  (goal {GOAL}, medians of {RUNS})")
    return saved / cold > GOAL


def _save(terminal: Terminal, run: int) -> float:
    text = (terminal.folder / LOGIN).read_text("utf-8")
    began = time.perf_counter()
    (terminal.folder / LOGIN).write_text(f"{text}# {run}\n", "utf-8")
    terminal.until(VERDICT)
    took = time.perf_counter() - began
    terminal.until(WAITING)
    return took


def _cold(folder: Path) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "lessons/03"]
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
