"""Runs a lesson's tests on a candidate, and says how each test ended."""

import ast
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from lessons.harness.catalogue import ROOT, Lesson, shown
from lessons.harness.grade import Grade
from lessons.harness.limit import GAVE_UP
from lessons.harness.verdicts import PASSED, worse
from lessons.harness.warm_pytest import CAN_FORK, WarmPytest
from tests.court import PATIENCE

TESTS = Path(__file__).resolve().parent
MAX_CHANGED_LINES = 10

# Byte code is written: without it every run compiles every library again.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "JWT_SECRET", "ENVIRONMENT"}
    and not name.startswith("PYTEST_XDIST")  # these tests run in its workers
}

A_BUSY_MACHINE = 5 * PATIENCE  # seconds until what hangs has ended; a quiet one takes a few
CORES = os.cpu_count() or 2
_pool = ThreadPoolExecutor(CORES)


def run_pytest(
    *arguments: str, folder: Path = ROOT, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run pytest as a learner would, in `folder`, and return its output.

    With an environment of its own it is started from nothing.
    """
    if env is None and CAN_FORK:
        return _warm.run(*arguments, folder=folder)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=ENVIRONMENT | (env or {}),
        capture_output=True,
        text=True,
        timeout=A_BUSY_MACHINE,
        check=False,
    )


class Warm:
    """Runs of pytest by processes that have imported the libraries; as many as run at once."""

    def __init__(self) -> None:
        self._idle: SimpleQueue[tuple[WarmPytest, IO[bytes], IO[bytes]]] = SimpleQueue()

    def run(self, *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run pytest in a folder, and return its output."""
        try:
            pytest, out, err = self._idle.get_nowait()
        except Empty:
            out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
            pytest = WarmPytest(env=ENVIRONMENT, stdout=out, stderr=err)
            atexit.register(pytest.close)
        for stream in (out, err):
            stream.seek(0)
            stream.truncate()
        pytest.order("-p", "no:cacheprovider", *arguments, folder=str(folder))
        code = pytest.wait(A_BUSY_MACHINE)
        assert code is not None, "It did not come to an end."
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
        self._idle.put((pytest, out, err))
        return subprocess.CompletedProcess(arguments, code, *said)


_warm = Warm()


@dataclass(frozen=True)
class Found:
    """The tests that pytest finds in a folder or a file, and what kept it from finding others."""

    tests: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    ended_well: bool = True


class Bench:
    """A warm process, and the run in it that judges candidates by some tests (`tests.court`)."""

    def __init__(self) -> None:
        self.tests: Path | None = None
        self.found = Found()
        self._folder = tempfile.TemporaryDirectory()
        self._address = str(Path(self._folder.name, "court"))
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(self._address)
        self._door.listen()
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        env = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}  # for the plug-in
        # A session of its own: Ctrl-C is for whoever waits, who then closes it.
        self._pytest = WarmPytest(folder=ROOT, cwd=ROOT, env=env, start_new_session=True, **silent)
        self._closing = threading.Lock()
        atexit.register(self.close)

    def close(self) -> None:
        """End the process, and what it judges."""
        if not self._closing.acquire(blocking=False):
            return
        atexit.unregister(self.close)
        self._pytest.close()
        self._door.close()
        self._folder.cleanup()

    def judge(
        self,
        tests: Path,
        candidate: Path,
        names: Sequence[str],
        enough: int = 0,
        patience: float = PATIENCE,
    ) -> Grade:
        """Return how the tests in a folder or a file, or those named, end on a candidate.

        After `enough` failed ones, if it is not 0, or so many seconds, it is over.
        """
        self.begin(tests)
        order = json.dumps([str(candidate), names, enough, patience])
        self._court.sendall(order.encode() + b"\n")
        result = Grade()
        for line in self._said:
            said = json.loads(line)
            if "code" in said:
                return self._ended(result, candidate, said["code"])
            if "begun" in said:
                result.unfinished = said["begun"].partition("[")[0]
            else:
                result.unfinished = ""
                _add_report(result, **said)
        raise AssertionError(f"Nobody judges by {shown(tests)}: see pytest {tests}")

    def begin(self, tests: Path, patience: float = PATIENCE) -> None:
        """Find the tests, unless it is done. Raises TimeoutError."""
        if tests == self.tests:
            return
        # Nobody reads the screen: with tracebacks of a line no cause is looked for, which is slow.
        quick = ("-p", "no:cacheprovider", "--tb=line")
        self._pytest.order(str(tests), *quick, "-p", "tests.court", f"--court={self._address}")
        self._door.settimeout(A_BUSY_MACHINE)
        self._court, _ = self._door.accept()
        self._court.settimeout(patience)
        self._said = self._court.makefile("rb")
        found = json.loads(self._said.readline() or "{}")
        self._court.settimeout(A_BUSY_MACHINE)
        names, errors = found.get("tests", ()), found.get("errors", ())
        self.found = Found(tuple(names), tuple(errors), ended_well=bool(found))
        self.tests = tests

    @staticmethod
    def _ended(result: Grade, candidate: Path, code: int) -> Grade:
        if not result.verdicts:
            is_endless = code in (GAVE_UP, -signal.SIGKILL)
            end = "did not come to an end" if is_endless else f"ended pytest, exit code {code}"
            result.sentence = f"{candidate.name} {end}."
        return result


def _add_report(result: Grade, test: str, properties: list[tuple[str, str]]) -> None:
    name = test.partition("[")[0]
    for key, value in properties:
        match key:
            case "verdict":
                result.verdicts[name] = worse(result.verdicts.get(name, PASSED), value)
            case "failure":
                result.failures[test] = value
            case "line":
                result.lines[test] = int(value)
            case "attack":
                result.attacks.add(name)
            case "sentence":
                result.sentence = result.sentence or value


class Benches:
    """As many as judge at once. One that has found the tests already comes first."""

    def __init__(self) -> None:
        self._idle: list[Bench] = []
        self._all: list[Bench] = []
        self._lock = threading.Lock()

    def judge(
        self,
        tests: Path,
        candidate: Path,
        names: Sequence[str],
        enough: int = 0,
        patience: float = PATIENCE,
    ) -> Grade:
        """Let one of them judge a candidate."""
        with self._one_for(tests) as bench:
            return bench.judge(tests, candidate, names, enough, patience)

    def find(self, tests: Path, patience: float) -> Found:
        """Return which tests there are in a folder or a file. Raises TimeoutError."""
        with self._one_for(tests) as bench:
            bench.begin(tests, patience)
            return bench.found

    def close(self) -> None:
        """End them all, also those that judge now."""
        with self._lock:
            benches, self._all, self._idle = self._all, [], []
        for bench in benches:
            bench.close()

    @contextmanager
    def _one_for(self, tests: Path) -> Iterator[Bench]:
        with self._lock:
            known = [each for each in self._idle if each.tests == tests]
            bench = next(iter(known or self._idle), None)
            if bench:
                self._idle.remove(bench)
        if bench is None:
            bench = Bench()
            self._all.append(bench)
        try:
            yield bench
        except BaseException:
            bench.close()
            raise
        with self._lock:
            self._idle.append(bench)


benches = Benches()


@dataclass(frozen=True)
class Mistake:
    """A reference with one error, and the tests that kill it."""

    lesson: Lesson
    name: str
    row: str
    killed_by: tuple[str, ...]
    file: Path
    changes: tuple[tuple[str, str], ...]
    hint: str = ""

    @property
    def in_lesson(self) -> bool:
        """Whether a lesson's tests must catch it, and not the workbook's own."""
        return not self.killed_by[0].startswith("tests/")

    @property
    def text(self) -> str:
        """The reference with the error in it. Raises ValueError when it does not fit any more."""
        text, misfits = self._apply()
        if misfits:
            raise ValueError(misfits[0])
        return text

    @property
    def misfits(self) -> list[str]:
        """A sentence for each change whose old text is not in the file exactly once."""
        return self._apply()[1]

    def _apply(self) -> tuple[str, list[str]]:
        """Make the changes that fit; return the text, and a sentence for each that does not."""
        if not self.file.is_file():
            return "", [f'"{self.name}" does not fit: there is no {shown(self.file)}.']
        text, misfits = self.file.read_text("utf-8"), []
        for old, new in self.changes:
            if (count := text.count(old)) == 1:
                text = text.replace(old, new)
            else:
                first = old.strip().partition("\n")[0]
                misfits.append(
                    f'"{self.name}" does not fit {shown(self.file)}: its old text is there '
                    f"{count} times, not once. It begins: {first}"
                )
        return text, misfits

    @property
    def changed_lines(self) -> int:
        """How many lines differ, counting the longer side of each change."""
        return sum(max(_count(old, new), _count(new, old)) for old, new in self.changes)


def _count(one: str, other: str) -> int:
    return len([line for line in one.splitlines() if line not in other.splitlines()])


def find_mistakes(lesson: Lesson) -> Iterator[Mistake]:
    """Read a lesson's mistakes from `tests/mistakes/`."""
    path = TESTS / "mistakes" / f"{lesson.folder.name}.toml"
    content = tomllib.loads(path.read_text("utf-8"))
    _check_keys(path.name, content, "mistake")
    for entry in content["mistake"]:
        where = f'{path.name}, "{entry.get("name", "a mistake without a name")}"'
        _check_keys(where, entry, "name row killed_by change", "file hint")
        for change in entry["change"]:
            _check_keys(f"{where}, in a change", change, "old new")
        yield Mistake(
            lesson=lesson,
            name=entry["name"],
            row=entry["row"],
            killed_by=tuple(entry["killed_by"]),
            file=ROOT / entry["file"] if "file" in entry else lesson.reference,
            changes=tuple((change["old"], change["new"]) for change in entry["change"]),
            hint=entry.get("hint", ""),
        )


def _check_keys(where: str, table: dict[str, Any], needed: str, optional: str = "") -> None:
    known = f"{needed} {optional}".split()
    for key in table:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}, not one of {', '.join(known)}.")
    for key in needed.split():
        if key not in table:
            raise ValueError(f"{where}: the key {key!r} is missing.")


def find_alternatives(lesson: Lesson) -> list[Path]:
    """Return the other right solutions of a lesson."""
    return sorted((TESTS / "alternatives" / lesson.folder.name).glob("*.py"))


def verdicts(lesson: Lesson, candidate: Path, tests: Sequence[str] = ()) -> dict[str, str]:
    """Return the verdicts of a lesson's tests on a candidate; of a test's parameters, the worst."""
    return _graded(lesson, candidate, tests).verdicts


def failures_of(mistake: "Mistake | TypicalError") -> dict[str, str]:
    """Return what each failed test said of an error in a lesson's reference."""
    return _graded_mistake(mistake).failures


def _graded_mistake(mistake: "Mistake | TypicalError", tests: Sequence[str] = ()) -> Grade:
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / mistake.lesson.reference.name
        candidate.write_text(mistake.text, "utf-8")
        return _graded(mistake.lesson, candidate, tests)


def _graded(lesson: Lesson, candidate: Path, tests: Sequence[str] = ()) -> Grade:
    result = benches.judge(lesson.folder, candidate, tests)
    assert result.verdicts, result.sentence
    return result


def named_tests(lesson: Lesson) -> dict[str, bool]:
    """Return the names of a lesson's tests, and whether each is an attack."""
    tree = ast.parse(lesson.tests.read_text("utf-8"))
    return {
        node.name: any(ast.unparse(mark) == "attack" for mark in node.decorator_list)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def _judge_mistake(mistake: Mistake, tests: Sequence[str] = ()) -> Grade:
    """Return how each test, or those named, ended on a mistake in a lesson's reference."""
    graded = _graded_mistake(mistake, tests)
    not_run = [name for name in mistake.killed_by if name not in graded.verdicts]
    assert not not_run, f"{not_run[0]} was not run. {graded.sentence}"
    return graded


def judge_each(
    lesson: Lesson, candidates: list[Mistake | Path]
) -> Iterator[tuple[Mistake | Path, dict[str, str]]]:
    """Judge some candidates, as many at once as there are cores, and yield how each ended."""
    running = [
        _pool.submit(_judge_mistake, each)
        if isinstance(each, Mistake)
        else _pool.submit(_graded, lesson, each)
        for each in candidates
    ]
    for each, future in zip(candidates, running, strict=True):
        yield each, future.result().verdicts


def begin(
    lessons: Iterable[Lesson],
    wanted: Container[object] | None = None,
    in_short: Callable[[Mistake], bool] = lambda _: False,
    shortest: bool = False,
) -> dict[object, "Future[Grade]"]:
    """Start judging the candidates of these lessons, as many at once as there are cores.

    `wanted` has the mistakes and the paths to judge; by default it is all. A mistake meets all
    tests, or `in_short` those that build and those that it names, or for the `shortest` these only.
    """
    running: dict[object, Future[Grade]] = {}
    for lesson in lessons:
        for path in [lesson.naive, lesson.reference, lesson.starter, *find_alternatives(lesson)]:
            if wanted is None or path in wanted:
                running[path] = _pool.submit(_graded, lesson, path)
        for mistake in find_mistakes(lesson):
            if mistake.in_lesson and (wanted is None or mistake in wanted):
                built = [name for name, attack in named_tests(lesson).items() if not attack]
                named = mistake.killed_by if shortest else [*built, *mistake.killed_by]
                short = tuple(dict.fromkeys(named))
                tests = short if in_short(mistake) else ()
                running[mistake] = _pool.submit(_judge_mistake, mistake, tests)
    return running


def begin_in_tests(
    mistakes: Iterable[Mistake],
) -> dict[object, "Future[subprocess.CompletedProcess[str]]"]:
    """Start the tests that kill mistakes in what is given, each in a copy of the workbook."""
    return {each: _pool.submit(_run_own_tests, each) for each in mistakes}


def _run_own_tests(mistake: Mistake) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("solutions", "lessons", "tests"):
            ignored = shutil.ignore_patterns("alternatives", "mistakes")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        for name in ("conftest.py", "pyproject.toml", "dev.env"):
            shutil.copy(ROOT / name, copy)
        (copy / mistake.file.relative_to(ROOT)).write_text(mistake.text, "utf-8")
        return run_pytest("-q", "-x", *mistake.killed_by, folder=copy)


@dataclass(frozen=True)
class TypicalError:
    """A learner's error: the reference with it, the part to name, and words that must be said."""

    lesson: Lesson
    name: str
    part: str
    says: str
    old: str
    new: str

    @property
    def text(self) -> str:
        """The reference with the error in it."""
        text = self.lesson.reference.read_text("utf-8")
        assert text.count(self.old) == 1, f'"{self.name}" does not fit {self.lesson.slug}.py.'
        return text.replace(self.old, self.new)


def find_typical_errors(lesson: Lesson) -> Iterator[TypicalError]:
    """Read a lesson's typical errors from `tests/typical_errors/`."""
    path = TESTS / "typical_errors" / f"{lesson.folder.name}.toml"
    for entry in tomllib.loads(path.read_text("utf-8"))["error"]:
        yield TypicalError(lesson, **entry)


class Screens:
    """What a learner sees on the terminal, in the workbook or a copy of it."""

    def __init__(self, folder: Path = ROOT) -> None:
        self._folder = folder

    def begin(self, lesson: Lesson, text: str) -> "Future[str]":
        """Start what makes the screen for a lesson in which this is the learner's file."""
        return _pool.submit(self._of, lesson, text)

    def _of(self, lesson: Lesson, text: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / lesson.starter.name
            file.write_text(text, "utf-8")
            tests = self._folder / lesson.folder.relative_to(ROOT)
            done = run_pytest(str(tests), f"--candidate={file}", folder=self._folder)
        return done.stdout + done.stderr
