"""`--candidate-dir`: a line for each student and lesson, and a crash costs only its own."""

import json
import shutil
from pathlib import Path

import pytest

from lessons.harness.catalogue import ROOT
from tests.judge import run_pytest


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """Six students: one is done, one breakable, one handed in the workbook, three went wrong."""
    works = {
        "anna/login.py": "solutions/login.py",
        "ben/03_login/login.py": "lessons/03_login/naive.py",
        "cleo/lessons/01_hashing/hashing.py": "solutions/hashing.py",
    }
    for to, source in works.items():
        (tmp_path / to).parent.mkdir(parents=True)
        shutil.copy(ROOT / source, tmp_path / to)
    for student, text in {
        "dan": "import os\nos._exit(0)\n",
        "eve": "import sys\nsys.exit('bye')\n",
        "frank": "def login(:\n",
    }.items():
        (tmp_path / student).mkdir()
        (tmp_path / student / "login.py").write_text(text)
    (tmp_path / "notes.txt").write_text("no student")
    return tmp_path


def test_each_student_has_a_line_for_each_lesson(class_folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "grades.json"
    done = run_pytest("lessons", f"--candidate-dir={class_folder}", f"--json={report}")
    assert done.returncode == 1, done.stderr
    lines = done.stdout.replace(str(class_folder), "...").splitlines()
    bar = "#" * 15
    assert lines == [
        f"anna   03 login     15 of 15 [{bar}]  attacks refused: 11 of 11  done",
        f"ben    03 login      4 of 15 [####{'.' * 11}]  attacks refused:  0 of 11  under way",
        f"cleo   01 hashing   15 of 15 [{bar}]  attacks refused: 11 of 11  done",
        "dan    03 login     login.py ended pytest, exit code 0.",
        "eve    03 login     .../eve/login.py:2 fails on import: SystemExit: bye",
        "frank  03 login     .../frank/login.py:1 does not parse: invalid syntax.",
    ]
    rows = json.loads(report.read_text())
    assert [(row["student"], row["lesson"], row["passed"], row["done"]) for row in rows] == [
        ("anna", "03", 15, True),
        ("ben", "03", 4, False),
        ("cleo", "01", 15, True),
        ("dan", "03", 0, False),
        ("eve", "03", 0, False),
        ("frank", "03", 0, False),
    ]
    assert set(rows[1]["tests"].values()) == {"passed", "open"}


def test_one_lesson_only(class_folder: Path) -> None:
    done = run_pytest("lessons/01", f"--candidate-dir={class_folder}")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--candidate-dir=nowhere"], "--candidate-dir: there is no folder nowhere."),
        (["--json=grades.json"], "--json goes with --candidate-dir."),
        (["--candidate-dir=tests"], "There is no student's work in"),
    ],
)
def test_mistakes_at_the_command_line_are_one_sentence(options: list[str], sentence: str) -> None:
    done = run_pytest("lessons", *options)
    assert done.returncode == 4
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
