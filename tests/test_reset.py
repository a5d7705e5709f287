"""`--reset` brings the starter back, and never loses what the learner wrote."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lessons.harness import reset as module
from lessons.harness.catalogue import ROOT, Lesson, find_lessons
from lessons.harness.reset import CannotReset, reset
from tests.golden import LOGIN, copy_workbook
from tests.judge import run_pytest

MINE = "# my own work\n"
STARTER = (ROOT / LOGIN).read_text("utf-8")
LESSONS = pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the workbook, as a ZIP brings it: without git."""
    copy_workbook(tmp_path)
    return tmp_path


def work(folder: Path, text: str = MINE) -> Path:
    """Let the learner write something in lesson 03."""
    (folder / LOGIN).write_text(text, "utf-8")
    return folder / LOGIN


def kept(folder: Path, number: int = 1) -> Path:
    return (folder / LOGIN).with_name(f"login.before-reset-{number}.py")


def files(folder: Path) -> dict[Path, bytes]:
    """Return all files of the lessons with their contents."""
    found = sorted((folder / "lessons").rglob("*.py"))
    return {path: path.read_bytes() for path in found if path.is_file()}


@LESSONS
def test_the_kept_starter_is_the_lesson_s(lesson: Lesson) -> None:
    same = lesson.kept_starter.read_bytes() == lesson.starter.read_bytes()
    assert same, f"cp lessons/{lesson.folder.name}/{lesson.slug}.py lessons/harness/starters/"


def test_no_starter_is_kept_without_a_lesson() -> None:
    folder = find_lessons()[0].kept_starter.parent
    assert {path.stem for path in folder.glob("*.py")} == {each.slug for each in find_lessons()}


@LESSONS
def test_every_lesson_comes_back_in_a_zip(lesson: Lesson, copy: Path) -> None:
    file = copy / lesson.starter.relative_to(ROOT)
    file.write_text(MINE, "utf-8")
    done = run_pytest(f"lessons/{lesson.number}", "--reset", folder=copy)
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == lesson.starter.read_bytes()
    beside = file.with_name(f"{lesson.slug}.before-reset-1.py")
    assert beside.read_text("utf-8") == MINE
    assert " ".join(done.stdout.split()) == (
        f"reset lessons/{lesson.folder.name}/{file.name} is the starter again. Yours is kept. "
        f"back rename lessons/{lesson.folder.name}/{beside.name} to {file.name}"
    )
    assert all(len(line) <= 80 for line in done.stdout.splitlines()), done.stdout
    assert done.stderr == ""


def test_it_works_in_a_hand_out_without_any_solution(copy: Path) -> None:
    shutil.rmtree(copy / "solutions")
    file = work(copy)
    done = run_pytest("lessons/03", "--reset", folder=copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert (file.read_text("utf-8"), kept(copy).read_text("utf-8")) == (STARTER, MINE)


@pytest.mark.parametrize(
    ("typed", "folder"),
    [
        (("03", "--reset"), "."),
        (("--reset", "lessons/login"), "."),
        (("lessons/03::test_a_login_gives_a_token", "--reset"), "."),
        (("lessons/03_login/login.py", "--reset"), "."),
        (("03", "--reset"), "lessons"),
        (("--reset",), "lessons/03_login"),
        (("lessons/03", "--reset", "--mine"), "."),
    ],
)
def test_it_understands_the_usual_ways_to_name_a_lesson(
    typed: tuple[str, ...], folder: str, copy: Path
) -> None:
    file = work(copy)
    done = run_pytest(*typed, folder=copy / folder)
    assert done.returncode == 0, done.stderr
    assert (file.read_text("utf-8"), kept(copy).read_text("utf-8")) == (STARTER, MINE)


def test_each_reset_keeps_a_file_of_its_own(copy: Path) -> None:
    for number in (1, 2, 3):
        work(copy, f"# version {number}\n")
        assert run_pytest("lessons/03", "--reset", folder=copy).returncode == 0
    for number in (1, 2, 3):
        assert kept(copy, number).read_text("utf-8") == f"# version {number}\n"


def test_what_is_kept_may_be_any_bytes(copy: Path) -> None:
    text = b"\xff\xfe\0 caf\xe9\r\n"
    (copy / LOGIN).write_bytes(text)
    assert run_pytest("lessons/03", "--reset", folder=copy).returncode == 0
    assert kept(copy).read_bytes() == text


def test_the_way_back_that_it_names_leads_back(copy: Path) -> None:
    work(copy)
    run_pytest("lessons/03", "--reset", folder=copy)
    kept(copy).rename(copy / LOGIN)
    assert (copy / LOGIN).read_text("utf-8") == MINE


def test_there_may_be_nothing_to_reset(copy: Path) -> None:
    before = files(copy)
    done = run_pytest("lessons/03", "--reset", folder=copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{LOGIN} is the starter already. Nothing was changed.\n"
    assert files(copy) == before


def test_a_deleted_file_comes_back(copy: Path) -> None:
    (copy / LOGIN).unlink()
    done = run_pytest("lessons/03", "--reset", folder=copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"reset  {LOGIN} was not there. Now it is, as the starter.\n"
    assert (copy / LOGIN).read_text("utf-8") == STARTER
    assert not kept(copy).exists()


@pytest.mark.parametrize(
    "typed",
    [
        ("lessons",),
        (".",),
        ("lessons/02", "lessons/03"),
        ("lessons/03", "tests"),
        ("lessons/03", "--solutions"),
        ("lessons/03", "--naive"),
        ("lessons/03", f"--candidate={LOGIN}"),
        ("lessons/03", "--candidate-dir=lessons"),
        ("lessons/03", "--watch"),
    ],
)
def test_it_refuses_in_one_sentence_where_it_is_not_clear_what_is_meant(
    typed: tuple[str, ...], copy: Path
) -> None:
    work(copy)
    before = files(copy)
    done = run_pytest("--reset", *typed, folder=copy)
    assert done.returncode == 4
    assert done.stderr.startswith("ERROR: --reset "), done.stderr
    assert len(done.stderr.split("\n\n")[0].splitlines()) == 1
    assert done.stdout == ""
    assert files(copy) == before


def test_an_unknown_lesson_is_named_as_ever(copy: Path) -> None:
    done = run_pytest("lessons/42", "--reset", folder=copy)
    assert done.returncode == 4
    assert "There is no lesson '42'." in done.stderr


def test_a_copy_without_starters_says_so(copy: Path) -> None:
    shutil.rmtree(copy / "lessons" / "harness" / "starters")
    file = work(copy)
    done = run_pytest("lessons/03", "--reset", folder=copy)
    assert done.returncode == 4
    sentence = "Nothing was reset: lessons/harness/starters/login.py: No such file or directory."
    assert done.stderr.strip() == f"ERROR: {sentence}"
    assert file.read_text("utf-8") == MINE


def own_lesson(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Lesson:
    """Return lesson 03 with its file in `folder`."""
    lesson = next(each for each in find_lessons() if each.slug == "login")
    monkeypatch.setattr(Lesson, "starter", property(lambda self: folder / "login.py"))
    (folder / "login.py").write_text(MINE, "utf-8")
    return lesson


@pytest.mark.parametrize("fails", ["replace", "write_bytes", "open"])
def test_whatever_fails_nothing_is_lost(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = own_lesson(tmp_path, monkeypatch)
    owner = os if fails == "replace" else Path

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(owner, fails, full)
        with pytest.raises(CannotReset, match=r"^Nothing was reset: No space left on device\.$"):
            reset(lesson)
    assert (tmp_path / "login.py").read_text("utf-8") == MINE
    assert not list(tmp_path.glob(".*"))


def test_the_starter_takes_the_place_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment before, the learner's text is in both files, and the starter is whole."""
    lesson = own_lesson(tmp_path, monkeypatch)
    seen: list[list[str]] = []
    replace = os.replace

    def look(new: Path, file: Path) -> None:
        both = (file, file.with_name("login.before-reset-1.py"), new)
        seen.append([path.read_text("utf-8") for path in both])
        replace(new, file)

    monkeypatch.setattr(module.os, "replace", look)
    reset(lesson)
    assert seen == [[MINE, MINE, STARTER]]


def test_git_ignores_what_is_kept_and_pytest_does_not_collect_it(copy: Path) -> None:
    for name in (kept(copy).name, "test_login.before-reset-1.py"):
        ignored = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False)
        assert ignored.returncode == 0, name
    kept(copy).write_text("1 / 0\n", "utf-8")
    plain = run_pytest("lessons/03", "--collect-only", "-q", folder=copy)
    assert plain.returncode == 0, plain.stdout
    assert "before-reset" not in plain.stdout
