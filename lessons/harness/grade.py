"""Grades files, each in a process of its own: a crash or an endless loop costs one file only."""

import atexit
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from xml.etree import ElementTree

from lessons.harness.catalogue import ROOT, Lesson
from lessons.harness.limit import GAVE_UP
from lessons.harness.verdicts import PASSED, worse
from lessons.harness.warm_pytest import CAN_FORK, ColdPytest, WarmPytest

PATIENCE = 120  # seconds for a lesson

_idle: SimpleQueue[WarmPytest | ColdPytest] = SimpleQueue()


@dataclass
class Grade:
    """How the tests of a lesson ended on a file."""

    verdicts: dict[str, str] = field(default_factory=dict)  # of a test's parameters, the worst
    attacks: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(
        default_factory=dict
    )  # by the names of tests with their parameters, what they said
    sentence: str = ""  # why it could not be graded

    @property
    def passed(self) -> int:
        return sum(verdict == PASSED for verdict in self.verdicts.values())

    @property
    def refused(self) -> int:
        return sum(self.verdicts[name] == PASSED for name in self.attacks)


def grade(
    lesson: Lesson, file: Path, env: dict[str, str] | None = None, tests: Sequence[str] = ()
) -> Grade:
    """Run a lesson's tests, or those named, on a file. `env` is for the first call only."""
    with tempfile.TemporaryDirectory() as folder, _lend(env) as pytest:
        report = Path(folder) / "report.xml"
        # Nobody reads the screen: with tracebacks of a line no cause is looked for, which is slow.
        quick = ("-p", "no:cacheprovider", "--tb=line")
        options = (*quick, f"--candidate={file}", f"--junitxml={report}")
        chosen = [f"{lesson.tests}::{name}" for name in tests] or [str(lesson.folder)]
        pytest.order(*chosen, *options)
        code = pytest.wait(PATIENCE)
        if not report.exists():
            endless = code is None or code == GAVE_UP
            end = "did not come to an end" if endless else f"ended pytest, exit code {code}"
            return Grade(sentence=f"{file.name} {end}.")
        return _read(report)


def _read(report: Path) -> Grade:
    result = Grade()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        name = case.attrib["name"].partition("[")[0]
        for entry in case.iter("property"):
            value = entry.attrib["value"]
            match entry.attrib["name"]:
                case "verdict":
                    result.verdicts[name] = worse(result.verdicts.get(name, PASSED), value)
                case "failure":
                    result.failures[case.attrib["name"]] = value
                case "attack":
                    result.attacks.add(name)
                case "sentence":
                    result.sentence = result.sentence or value
    return result


@contextmanager
def _lend(env: dict[str, str] | None) -> Iterator[WarmPytest | ColdPytest]:
    """Lend a process for one run at a time. There are as many as are needed at once."""
    try:
        process = _idle.get_nowait()
    except Empty:
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = (
            WarmPytest(folder=ROOT, cwd=ROOT, env=env, **silent)
            if CAN_FORK
            else ColdPytest(cwd=ROOT, env=env, **silent)
        )
        atexit.register(process.close)
    yield process
    _idle.put(process)
