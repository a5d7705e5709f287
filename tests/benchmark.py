"""How much slower than bare pytest the learner's loop is: `python -m tests.benchmark`.

Numerator: `pytest lessons/NN --solutions`. Denominator: one test with the same imports that logs
in once, in an empty folder, with pytest's defaults. They run in turn, so that a busy machine slows
both, and the ratio of the medians counts. The same imports: those at the top of the lesson's file,
so what earlier lessons have built, too.
"""

import ast
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lessons.harness.catalogue import ROOT, find_lessons
from tests.judge import ENVIRONMENT

GOAL = 1.15
RUNS = 11
FLOOR = Path(__file__).with_name("floor_of_the_benchmark.py")


def main() -> bool:
    """Print the ratio for each lesson, or those named; return whether one misses the goal."""
    missed = False
    with tempfile.TemporaryDirectory() as empty:
        for lesson in find_lessons():
            if lesson.number not in (sys.argv[1:] or lesson.number):
                continue
            floor_text = imports_of(lesson.kept_starter) + FLOOR.read_text("utf-8")
            Path(empty, "test_floor.py").write_text(floor_text, "utf-8")
            command = ["pytest", f"lessons/{lesson.number}", "--solutions"]
            pairs = [
                (_time(command, ROOT), _time(["pytest"], Path(empty))) for _ in range(RUNS + 1)
            ]
            ours, floor = (statistics.median(side) for side in zip(*pairs[1:], strict=True))
            missed = missed or ours / floor > GOAL
            print(
                f"lessons/{lesson.number}  {ours / floor:.2f} = {ours:.2f} s / {floor:.2f} s"
                f"  (goal {GOAL}, medians of {RUNS})",
                flush=True,
            )
    return missed


def imports_of(file: Path) -> str:
    """Return the imports at the top of a file, to stand in front of another."""
    tree = ast.parse(file.read_text("utf-8"))
    named = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    return "".join(f"{ast.unparse(each)}\n" for each in named)


def _time(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
