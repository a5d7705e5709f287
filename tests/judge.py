"""Runs a lesson's tests on a candidate, and says how each test ended."""

import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lessons.harness.catalogue import ROOT, Lesson
from lessons.harness.grade import PATIENCE, grade

TESTS = Path(__file__).resolve().parent
MAX_CHANGED_LINES = 10

# Byte code is written: without it every run compiles every library again.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "JWT_SECRET", "ENVIRONMENT"}
}

_pool = ThreadPoolExecutor(os.cpu_count() or 2)


def run_pytest(
    *arguments: str, folder: Path = ROOT, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run pytest as a learner would, in `folder`, and return its output."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=ENVIRONMENT | (env or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@dataclass(frozen=True)
class Mistake:
    """A reference with one error, and the tests that kill it."""

    lesson: Lesson
    name: str
    row: str
    killed_by: tuple[str, ...]
    file: Path
    changes: tuple[tuple[str, str], ...]

    @property
    def in_lesson(self) -> bool:
        """Whether a lesson's tests must catch it, and not the workbook's own."""
        return not self.killed_by[0].startswith("tests/")

    @property
    def text(self) -> str:
        """The reference with the error in it. Raises ValueError when it does not fit any more."""
        text = self.file.read_text("utf-8")
        for old, new in self.changes:
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {text.count(old)} times in {self.file.name}: {old}")
            text = text.replace(old, new)
        return text

    @property
    def changed_lines(self) -> int:
        """How many lines differ, counting the longer side of each change."""
        return sum(max(_count(old, new), _count(new, old)) for old, new in self.changes)


def _count(one: str, other: str) -> int:
    return len([line for line in one.splitlines() if line not in other.splitlines()])


def find_mistakes(lesson: Lesson) -> Iterator[Mistake]:
    """Read a lesson's mistakes from `tests/mistakes/`."""
    path = TESTS / "mistakes" / f"{lesson.folder.name}.toml"
    for entry in tomllib.loads(path.read_text("utf-8"))["mistake"]:
        yield Mistake(
            lesson=lesson,
            name=entry["name"],
            row=entry["row"],
            killed_by=tuple(entry["killed_by"]),
            file=ROOT / entry["file"] if "file" in entry else lesson.reference,
            changes=tuple((old, new) for old, new in entry["changes"]),
        )


def find_alternatives(lesson: Lesson) -> list[Path]:
    """Return the other right solutions of a lesson."""
    return sorted((TESTS / "alternatives" / lesson.folder.name).glob("*.py"))


def verdicts(lesson: Lesson, candidate: Path) -> dict[str, str]:
    """Return the verdict of each test of a lesson on a candidate; of its parameters, the worst."""
    result = grade(lesson, candidate, ENVIRONMENT)
    assert result.verdicts, result.sentence
    return result.verdicts


def verdicts_on_mistake(mistake: Mistake) -> dict[str, str]:
    """Return how each test ended on a mistake in a lesson's reference."""
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / mistake.file.name
        candidate.write_text(mistake.text, "utf-8")
        return verdicts(mistake.lesson, candidate)


def begin(lessons: Iterable[Lesson]) -> dict[object, "Future[dict[str, str]]"]:
    """Start judging every candidate of these lessons, as many at once as there are cores."""
    running: dict[object, Future[dict[str, str]]] = {}
    for lesson in lessons:
        for path in [lesson.naive, lesson.reference, lesson.starter, *find_alternatives(lesson)]:
            running[path] = _pool.submit(verdicts, lesson, path)
        for mistake in find_mistakes(lesson):
            if mistake.in_lesson:
                running[mistake] = _pool.submit(verdicts_on_mistake, mistake)
    return running
