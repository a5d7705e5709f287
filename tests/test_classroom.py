"""`--candidate-dir`: a line for each student and lesson, and what a hand-in does costs its own."""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lessons.harness.catalogue import ROOT, Lesson
from lessons.harness.submissions import find_hand_ins
from tests.everyday import IS_EVERYDAY
from tests.golden import copy_workbook, edit
from tests.hostile_hand_ins import CHEATS, ENDS, NAIVE, RIGHT, TESTS, THEFTS
from tests.judge import ENVIRONMENT, run_pytest
from tests.terminal import processes_of

BAR = "#" * 15
DONE = f"03 login        15 of 15 [{BAR}]  attacks refused: 11 of 11  done"
ALONE = Path("lessons", "harness", "walls.py"), ('"unshare"', '"no such program"')
HASTY = (
    (Path("lessons", "harness", "limit.py"), ("\nSECONDS = 10 ", "\nSECONDS = 1 ")),
    (Path("lessons", "harness", "hand_in.py"), ("\nPATIENCE = 60 ", "\nPATIENCE = 10 ")),
)


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
    assert lines_of(done) == [
        f"anna   {DONE}",
        f"ben    03 login         4 of 15 [####{'.' * 11}]  attacks refused:  0 of 11  under way",
        f"cleo   01 hashing      15 of 15 [{BAR}]  attacks refused: 11 of 11  done",
        "dan    03 login     login.py:2 fails on import: os._exit: 0",
        "eve    03 login     login.py:2 fails on import: SystemExit: bye",
        "frank  03 login     login.py:1 does not parse: invalid syntax.",
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


def lines_of(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """Return the students' lines."""
    return [line for line in done.stdout.splitlines() if not line.startswith("Note: ")]


def test_one_lesson_only(class_folder: Path) -> None:
    for student in class_folder.iterdir():
        if student.name != "cleo" and student.is_dir():
            shutil.rmtree(student)
    done = run_pytest("lessons/01", f"--candidate-dir={class_folder}")
    assert (done.returncode, len(lines_of(done))) == (0, 1)


def hand_in(folder: Path, student: str, name: str, text: str = RIGHT) -> None:
    """Put a file into a student's folder."""
    (folder / student).mkdir(parents=True, exist_ok=True)
    (folder / student / name).write_text(text, "utf-8")


# --- hostile hand-ins -----------------------------------------------------------------------


@dataclass
class Class:
    """A class that was graded: the lines and the report by student."""

    folder: Path
    workbook: Path
    lines: dict[str, str]
    rows: dict[str, dict[str, Any]]
    notes: list[str]
    is_called: bool  # from inside of a hand-in


OUTSIDE = ["a call home", "a child that lives on", "a report at exit", "an edited harness"]
NAMES = {  # what is tried inside of the tests' process ends alike, shut off or not
    "as far as the system can": [*CHEATS, *THEFTS, *ENDS],
    "with limits alone": [*OUTSIDE, *THEFTS, *ENDS],
}
WAYS = [*NAMES][:1] if IS_EVERYDAY else [*NAMES]
TEXTS = {**CHEATS, **THEFTS, **{name: text for name, (text, _) in ENDS.items()}}


def each(*texts: dict[str, Any]) -> pytest.MarkDecorator:
    """Ask for each of some texts, in each way in which it was graded."""
    names = [name for group in texts for name in group]
    pairs = [(way, name) for way in WAYS for name in names if name in NAMES[way]]
    return pytest.mark.parametrize(("graded", "name"), pairs, indirect=["graded"])


in_both_ways = pytest.mark.parametrize("graded", WAYS, indirect=True)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Class]:
    """Grades the class in one of the ways, once."""
    return cache(lambda way: grade_class(tmp_path_factory.mktemp("teacher"), way))


@pytest.fixture
def graded(request: pytest.FixtureRequest, classes: Callable[[str], Class]) -> Class:
    """A class of hostile hand-ins between two right ones."""
    return classes(request.param)


def grade_class(folder: Path, way: str) -> Class:
    """Let the students hand in, and grade them as a teacher does."""
    workbook, students, report = folder / "workbook", folder / "class", folder / "grades.json"
    make_workbook(workbook, limits_alone=way == "with limits alone")
    (folder / "tmp").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        places = (
            f"WORKBOOK, CLASS, GRADES = {str(workbook)!r}, {str(students)!r}, {str(report)!r}\n"
            f"PORT = {server.getsockname()[1]}\n"
        )
        texts = {name: f"{NAIVE}\n{places}{TEXTS[name]}" for name in NAMES[way]}
        texts |= dict.fromkeys(("anna", "zoe"), RIGHT)
        for name, text in texts.items():
            hand_in(students, name, "toy.py", text)
        hand_in(students, "files beside", "toy.py", NAIVE)
        for name in ("conftest", "sitecustomize", "usercustomize", "pytest", "solutions"):
            skip = "import pytest\ndef pytest_collection_modifyitems(items): del items[1:]\n"
            hand_in(students, "files beside", f"{name}.py", skip)
        done = run_pytest(
            "lessons/99",
            f"--candidate-dir={students}",
            f"--json={report}",
            folder=workbook,
            env={"TEACHERS_KEY": "swordfish", "TMPDIR": str(folder / "tmp")},
        )
        is_called = bool(select.select([server], [], [], 0)[0])
    printed = done.stdout.splitlines()
    notes = [line for line in printed if line.startswith("Note: ")]
    assert done.returncode == 1, done.stdout + done.stderr
    assert not done.stderr
    parts = [line.partition("  99 toy       ") for line in printed if line not in notes]
    rows = json.loads(report.read_text())
    return Class(
        folder=folder,
        workbook=workbook,
        lines={name.rstrip(): rest for name, _, rest in parts},
        rows={row["student"]: row for row in rows},
        notes=notes,
        is_called=is_called,
    )


def make_workbook(folder: Path, limits_alone: bool) -> None:
    """Copy the workbook, with a small lesson in it and less patience."""
    folder.mkdir()
    copy_workbook(folder)
    for file, change in [*HASTY, *([ALONE] if limits_alone else [])]:
        edit(file, change)(folder)
    lesson = folder / "lessons" / "99_toy"
    lesson.mkdir()
    (lesson / "README.md").write_text("# Lesson 99: toy\n")
    (lesson / "test_toy.py").write_text(TESTS)
    kept = folder / "lessons" / "harness" / "starters" / "toy.py"
    for file in (lesson / "toy.py", lesson / "naive.py", kept):
        file.write_text(NAIVE)
    (folder / "solutions" / "toy.py").write_text(RIGHT)


@in_both_ways
def test_everybody_has_one_line_and_one_row(graded: Class) -> None:
    everybody = sorted(path.name for path in (graded.folder / "class").iterdir())
    assert list(graded.lines) == list(graded.rows) == everybody


@in_both_ways
def test_only_the_right_ones_are_done(graded: Class) -> None:
    line = f"    3 of 3  [###]{' ' * 12}  attacks refused:  2 of 2   done"
    assert (graded.lines["anna"], graded.lines["zoe"]) == (line, line)
    done = {name for name, row in graded.rows.items() if row["done"]}
    # Where nobody is shut off, who finds the answer can hand it in; a note says so.
    may_be = {"another's work", "the answer"} if graded.notes else set()
    assert {"anna", "zoe"} <= done <= {"anna", "zoe", *may_be}


@each(CHEATS)
def test_no_cheat_is_done(graded: Class, name: str) -> None:
    assert not graded.rows[name]["done"]
    assert not graded.lines[name].endswith("done"), graded.lines[name]


@in_both_ways
def test_files_beside_the_hand_in_do_not_count(graded: Class) -> None:
    assert graded.lines["files beside"].endswith("attacks refused:  0 of 2   under way")


@each(THEFTS)
def test_what_is_not_theirs_cannot_be_read(graded: Class, name: str) -> None:
    may_be_read = graded.notes and name != "the answer of the copy"
    assert may_be_read or "No such file" in graded.lines[name], graded.lines[name]


@in_both_ways
def test_there_is_no_network(graded: Class) -> None:
    assert graded.is_called is bool(graded.notes)


@each(ENDS)
def test_each_end_is_one_sentence(graded: Class, name: str) -> None:
    assert re.fullmatch(ENDS[name][1], graded.lines[name]), graded.lines[name]


@in_both_ways
def test_nothing_lives_on(graded: Class) -> None:
    assert processes_of(graded.folder) == []
    assert list((graded.folder / "tmp").iterdir()) == []


@in_both_ways
def test_a_changed_workbook_is_said(graded: Class) -> None:
    changed = [note for note in graded.notes if "changed meanwhile" in note]
    verdicts = graded.workbook / "lessons" / "harness" / "verdicts.py"
    if graded.notes:
        assert len(changed) == 1 and "lessons/harness/verdicts.py" in changed[0]
    else:
        assert verdicts.read_bytes() == (ROOT / verdicts.relative_to(graded.workbook)).read_bytes()


# --- what is no hand-in, and what is none of the students' ----------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names and files.")
def test_what_is_no_hand_in_has_a_line_that_says_so(tmp_path: Path) -> None:
    students, report = tmp_path / "class", tmp_path / "grades.json"
    students.mkdir()
    hand_in(students, "capital", "Login.py")
    hand_in(students, "copied", "login (1).py")
    hand_in(students, "notes", "notes.txt")
    hand_in(students, "twice", "login.py")
    hand_in(students / "twice", "03_login", "login.py", NAIVE)
    hand_in(students, "nothing", "login.py", "")
    hand_in(students, "huge", "login.py", "#" * (1 << 21))
    for student in ("empty", "folder/login.py", "link", "out", "pipe"):
        (students / student).mkdir(parents=True)
    (students / "link" / "login.py").symlink_to("nowhere.py")
    (students / "out" / "login.py").symlink_to(ROOT / "solutions" / "login.py")
    os.mkfifo(students / "pipe" / "login.py")
    done = run_pytest("lessons/03", f"--candidate-dir={students}", f"--json={report}")
    looked_for = "has no login.py or 03_login/login.py or lessons/03_login/login.py. It holds"
    assert [line.replace("03 login     ", "") for line in lines_of(done)] == [
        "capital  has Login.py. Its name must be login.py.",
        "copied   has login (1).py. Its name must be login.py.",
        f"empty    {looked_for} nothing.",
        "folder   login.py is not a file.",
        "huge     login.py is too large: 2 MB.",
        "link     login.py cannot be read: No such file or directory.",
        f"notes    {looked_for} notes.txt.",
        "nothing  login.py is empty.",
        "out      login.py is a link that leads out of the folder.",
        "pipe     login.py is not a file.",
        "twice    has login.py and 03_login/login.py, which differ: keep one.",
    ]
    assert len(json.loads(report.read_text())) == 11


def test_a_closed_folder_costs_its_own_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played, since the administrator may read everything."""
    hand_in(tmp_path, "anna", "toy.py")
    hand_in(tmp_path, "ben", "toy.py")
    original = os.listdir

    def listdir(folder: Path) -> list[str]:
        if folder == tmp_path / "anna":
            raise PermissionError(13, "Permission denied", str(folder))
        return original(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    anna, ben = find_hand_ins(tmp_path, [Lesson("99", "toy")])
    assert (anna.student, anna.sentence) == ("anna", "cannot be read: anna: Permission denied.")
    assert (ben.student, ben.sentence, ben.text) == ("ben", "", RIGHT.encode())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names.")
def test_names_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    """A terminal obeys some letters, and lacks others."""
    names = [
        "\x1b[2J\x1b[1;1Hzoe",
        "new\nline",
        "Grüße",
        b"latin-\xff".decode(errors="surrogateescape"),
    ]
    for name in names:
        (tmp_path / name).mkdir()
    report = tmp_path / "grades.json"
    done = run_pytest(
        "lessons/03",
        f"--candidate-dir={tmp_path}",
        f"--json={report}",
        env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 1 and not done.stderr
    assert not [each for each in done.stdout if not each.isprintable() and each != "\n"]
    begin = [line.partition("  03 login")[0].rstrip() for line in lines_of(done)]
    assert sorted(begin) == sorted(
        [r"\x1b[2J\x1b[1;1Hzoe", r"new\nline", r"Gr\xfc\xdfe", r"latin-\udcff"]
    )
    assert {row["student"] for row in json.loads(report.read_text())} == set(names)


def test_a_report_that_cannot_be_written_is_said_before_the_grading(tmp_path: Path) -> None:
    hand_in(tmp_path, "anna", "login.py")
    where = tmp_path / "no" / "grades.json"
    done = run_pytest("lessons/03", f"--candidate-dir={tmp_path}", f"--json={where}")
    assert done.returncode == 4
    assert done.stderr.strip() == f"ERROR: --json: {where}: No such file or directory."


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals.")
def test_ctrl_c_keeps_what_was_graded(tmp_path: Path) -> None:
    students, report = tmp_path / "class", tmp_path / "grades.json"
    students.mkdir()
    hand_in(students, "anna", "login.py", (ROOT / "solutions" / "login.py").read_text("utf-8"))
    for number in range(6):
        hand_in(students, f"endless {number}", "login.py", "import time\ntime.sleep(60)\n")
    command = ["lessons/03", f"--candidate-dir={students}", f"--json={report}"]
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        lines: Iterator[str] = iter(run.stdout or ())
        first = next(line for line in lines if not line.startswith("Note: "))
        run.send_signal(signal.SIGINT)
        rest = list(lines)
    assert first.rstrip().endswith("done")
    assert rest == ["Stopped: 1 of 7 are graded.\n"]
    assert run.returncode == 2
    rows = json.loads(report.read_text())
    assert [row["done"] for row in rows] == [True, *[False] * 6]
    assert {row["sentence"] for row in rows[1:]} == {"Not graded: it was stopped before."}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--candidate-dir=nowhere"], "--candidate-dir: there is no folder nowhere."),
        (["--json=grades.json"], "--json goes with --candidate-dir."),
        (["--candidate-dir=tests/golden"], "There is no student's folder in"),
    ],
)
def test_mistakes_at_the_command_line_are_one_sentence(options: list[str], sentence: str) -> None:
    done = run_pytest("lessons", *options)
    assert done.returncode == 4
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
