"""Runs a lesson's tests on a candidate, and says how each test ended."""

import atexit
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from xml.etree import ElementTree

from lessons.harness.catalogue import ROOT, Lesson
from lessons.harness.verdicts import OPEN, PASSED
from lessons.harness.warm_pytest import WarmPytest

TESTS = Path(__file__).resolve().parent
SEVERITY = ["", PASSED, OPEN]  # anything else is worse
MAX_CHANGED_LINES = 10

# Byte code is written: without it every run compiles every library again.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "JWT_SECRET", "ENVIRONMENT"}
}

PATIENCE = 120  # seconds

_pool = ThreadPoolExecutor(os.cpu_count() or 2)
_idle: SimpleQueue[WarmPytest] = SimpleQueue()


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
    with tempfile.TemporaryDirectory() as folder, _warm_pytest() as pytest:
        report = Path(folder) / "report.xml"
        pytest.order(
            "-p", "no:cacheprovider", str(lesson.folder), f"--candidate={candidate}",
            f"--junitxml={report}",
        )  # fmt: skip
        code = pytest.wait(PATIENCE)
        if not report.exists():
            raise AssertionError(f"{candidate} in lesson {lesson.number}: exit code {code}")
        ended: dict[str, str] = {}
        for case in ElementTree.parse(report).iter("testcase"):
            name = re.sub(r"\[.*", "", case.attrib["name"])
            for entry in case.iter("property"):
                ended[name] = max(ended.get(name, ""), entry.attrib["value"], key=_severity)
        return ended


@contextmanager
def _warm_pytest() -> Iterator[WarmPytest]:
    """Lend a warm process, one of as many as there are cores. It is used by one run at a time."""
    try:
        warm = _idle.get_nowait()
    except Empty:
        warm = WarmPytest(cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        atexit.register(warm.close)
    yield warm
    _idle.put(warm)


def _severity(verdict: str) -> int:
    return SEVERITY.index(verdict) if verdict in SEVERITY else len(SEVERITY)


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
