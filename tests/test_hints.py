"""`--hint` adds to the screen the hint for the TODO that `do` names, and `=more` a stronger one."""

import ast
import re
import shutil
import textwrap
from pathlib import Path

import pytest

from lessons.harness.candidate import Candidate
from lessons.harness.catalogue import ROOT, Lesson, find_lessons
from lessons.harness.composite import find_todos
from lessons.harness.hints import (
    ALL_DONE,
    BROKEN_OFF,
    LABEL,
    THERE_IS_NONE,
    find_hints,
    hint,
    hint_below,
)
from lessons.harness.screen import WIDTH
from tests.golden import DONE, GUARD, HASHING, LOGIN, as_it_is, copy_workbook, edit, finish
from tests.golden import Change as Edit
from tests.judge import run_pytest

LESSONS = pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)
LESSON = {lesson.slug: lesson for lesson in find_lessons()}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the workbook, as a ZIP brings it: without git."""
    copy_workbook(tmp_path)
    return tmp_path


def without_answers(folder: Path) -> None:
    """Take the references out of a copy."""
    for name in (*LESSON, "tokens_jose", "main"):
        (folder / "solutions" / f"{name}.py").unlink()


def ends_in(printed: str, lines: list[str]) -> bool:
    return printed.splitlines()[-len(lines) :] == lines


# --- what HINTS.md says ---------------------------------------------------------------------


@LESSONS
def test_every_todo_has_two_hints_under_its_name(lesson: Lesson) -> None:
    expected = {todo.number: todo.name for todo in find_todos(lesson)}
    found = find_hints(lesson)
    assert {number: found[number].function for number in found} == expected
    assert list(found) == sorted(found)
    for each in found.values():
        assert each.first and each.more, each
        assert "```" not in each.first, "The first hint is a question or a pointer, not code."
        assert each.first != each.more


@LESSONS
def test_its_code_is_the_reference_s(lesson: Lesson) -> None:
    """Compared as trees, since hints are laid out for a terminal."""
    reference = ast.unparse(ast.parse(lesson.reference.read_text("utf-8")))
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", lesson.hints.read_text("utf-8"), re.M | re.S)
    assert len(blocks) >= len(find_hints(lesson))
    for language, block in blocks:
        assert language == "python"
        code = ast.unparse(ast.parse(block))
        shapes = [textwrap.indent(code, " " * indent) for indent in (0, 4, 8)]
        assert any(f"\n{shape}\n" in reference for shape in shapes), block


@LESSONS
@pytest.mark.parametrize("more", [False, True])
def test_it_fits_a_terminal(lesson: Lesson, more: bool) -> None:
    for number in find_hints(lesson):
        lines = hint(lesson, number, more)
        assert lines[0].startswith(LABEL) and lines[0] != LABEL.strip()
        for line in lines:
            assert line.isascii() and len(line) <= WIDTH, line
            assert line == line.rstrip() and "```" not in line
        assert (lines[-1] == f"more   pytest lessons/{lesson.number} --hint=more") == (not more)


# --- which hint the screen shows ------------------------------------------------------------

WRONG_HEADER = edit(LOGIN, ('"Cache-Control"] = "no-store"', '"X-Cache"] = "no"'), first=DONE)
BYTES = edit(
    HASHING,
    (
        'raise NotImplementedError("TODO 1: return all bytes, or refuse")',
        "return password.encode()",
    ),
)
GUARDLESS = edit(
    Path("lessons/04_oauth2/oauth2.py"),
    ("Depends(get_current_active_user)]\n", "Depends(get_current_user)]\n"),
    first=finish("oauth2"),
)


@pytest.mark.parametrize(
    ("change", "slug", "todo"),
    [
        (as_it_is, "login", 1),
        (BYTES, "hashing", 1),
        (WRONG_HEADER, "login", 3),
        (GUARDLESS, "oauth2", 3),
    ],
    ids=["untouched", "one written, wrong", "all written, one wrong", "a declaration"],
)
def test_it_is_for_the_todo_that_the_screen_names(
    change: Edit, slug: str, todo: int, copy: Path
) -> None:
    change(copy)
    lesson = LESSON[slug]
    plain = run_pytest(f"lessons/{lesson.number}", folder=copy)
    assert LABEL not in plain.stdout
    for option, more in (("--hint", False), ("--hint=more", True)):
        done = run_pytest(f"lessons/{lesson.number}", option, folder=copy)
        assert done.returncode == plain.returncode == 1
        assert ends_in(done.stdout, hint(lesson, todo, more)), done.stdout
        assert done.stdout.count(LABEL) == 1
        headline = next(line for line in done.stdout.splitlines() if line.startswith("Lesson "))
        assert headline in plain.stdout


def test_where_all_is_green_none_is_needed(copy: Path) -> None:
    DONE(copy)
    done = run_pytest("lessons/03", "--hint", folder=copy)
    assert done.returncode == 0
    assert ends_in(done.stdout, [ALL_DONE])


@pytest.mark.parametrize(
    ("old", "new"), [(GUARD, GUARD[:-1]), ("import secrets\n", "import secrets\n\n1 / 0\n")]
)
def test_what_does_not_run_comes_first(old: str, new: str, copy: Path) -> None:
    edit(LOGIN, (old, new), first=DONE)(copy)
    done = run_pytest("lessons/03", "--hint", folder=copy)
    assert ends_in(done.stdout, [BROKEN_OFF])
    assert "next   mend lessons/03_login/login.py" in done.stdout


def test_a_file_that_is_gone_comes_first(copy: Path) -> None:
    (copy / LOGIN).unlink()
    done = run_pytest("lessons/03", "--hint", folder=copy)
    assert ends_in(done.stdout, ["next   pytest lessons/03 --reset", BROKEN_OFF])


def test_the_number_counts_where_the_screen_says_one() -> None:
    lesson = LESSON["login"]
    candidate = Candidate(lesson, lesson.starter)
    screen = ["next   test_x", "do     TODO 2 in lessons/03_login/login.py:41, authenticate_user"]
    assert hint_below(screen, candidate, more=False) == hint(lesson, 2, more=False)
    screen = ["do     fix lessons/03_login/login.py:41, login", "read   x"]
    assert hint_below(screen, candidate, more=True) == hint(lesson, 3, more=True)


# --- what is typed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "folder", "more"),
    [
        (("--hint", "lessons/01"), ".", False),
        (("--hint", "01"), ".", False),
        (("--hint=more", "lessons/01"), ".", True),
        (("--hint", "lessons/01::test_a_nul_byte_cuts_nothing"), ".", False),
        (("lessons/01_hashing/hashing.py", "--hint"), ".", False),
        (("--hint", "01"), "lessons", False),
        (("--hint",), "lessons/01_hashing", False),
        (("lessons/01", "--hint", "-v"), ".", False),
        (("lessons/01", "--hint", "--mine"), ".", False),
    ],
)
def test_order_and_spelling_are_free(
    typed: tuple[str, ...], folder: str, more: bool, copy: Path
) -> None:
    done = run_pytest(*typed, folder=copy / folder)
    todo = re.findall(r"^do     TODO (\d) in", done.stdout, re.M)
    assert len(todo) == 1, done.stdout + done.stderr
    assert ends_in(done.stdout, hint(LESSON["hashing"], int(todo[0]), more)), done.stdout


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (("lessons", "--hint"), "--hint is about your file in one lesson"),
        (("lessons/01", "--hint", "lessons/02"), "--hint is about your file in one lesson"),
        (("lessons/01", "--hint", "--naive"), "--hint is about your file in one lesson"),
        (("lessons/01", "--hint", "--solutions"), "--hint is about your file in one lesson"),
        (("lessons/01", "--hint", "more"), "--hint is about your file in one lesson"),
        (("--hint", "lessons/42"), "There is no lesson '42'."),
    ],
)
def test_what_makes_no_sense_costs_one_sentence(typed: tuple[str, ...], sentence: str) -> None:
    done = run_pytest(*typed)
    assert done.returncode == 4
    assert f"ERROR: {sentence}" in done.stderr
    assert "Traceback" not in done.stderr


# --- a copy that was handed out -------------------------------------------------------------


def test_a_hand_out_has_hints(copy: Path) -> None:
    without_answers(copy)
    for options, more in ((["--hint"], False), (["--hint=more"], True)):
        done = run_pytest("lessons/01", *options, folder=copy)
        assert ends_in(done.stdout, hint(LESSON["hashing"], 1, more)), done.stdout


def test_a_hand_out_s_later_lesson_has_them_before_the_earlier_ones_are_done(copy: Path) -> None:
    without_answers(copy)
    done = run_pytest("lessons/03", "--hint", folder=copy)
    assert "next   pytest lessons/01" in done.stdout
    assert ends_in(done.stdout, hint(LESSON["login"], 1, more=False)), done.stdout


def test_so_has_one_without_the_whole_folder(copy: Path) -> None:
    shutil.rmtree(copy / "solutions")
    done = run_pytest("lessons/01", "--hint", folder=copy)
    assert ends_in(done.stdout, hint(LESSON["hashing"], 1, more=False)), done.stdout + done.stderr


def test_a_teacher_may_take_the_hints_out(copy: Path) -> None:
    (copy / LESSON["login"].hints.relative_to(ROOT)).unlink()
    done = run_pytest("lessons/03", "--hint", folder=copy)
    assert ends_in(done.stdout, [THERE_IS_NONE])
