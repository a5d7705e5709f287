"""`pytest lessons/NN --hunt`: the learner's attacks, and what they are told."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.harness.catalogue import ROOT, Lesson, find_lessons
from lessons.harness.verdicts import OPEN, PASSED
from tests import hunt as hunting
from tests.golden import FOLDER, HUNT, copy_workbook, edit, hunt
from tests.judge import (
    ENVIRONMENT,
    benches,
    find_alternatives,
    find_mistakes,
    named_tests,
    run_pytest,
)
from tests.test_command_line import check_screen

EACH = pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)
LOGIN = find_lessons()[2]


# --- what is given --------------------------------------------------------------------------


@EACH
def test_the_example_is_an_attack(lesson: Lesson) -> None:
    """The breakable code does not refuse it, and right code does."""
    assert lesson.hunt.read_bytes() == lesson.kept_hunt.read_bytes(), (
        f"cp lessons/{lesson.folder.name}/hunt.py lessons/harness/hunts/{lesson.slug}.py"
    )
    (name,) = benches.find(lesson.hunt, 60).tests
    assert set(benches.judge(lesson.hunt, lesson.naive, ()).verdicts.items()) == {(name, OPEN)}
    for right in (lesson.reference, *find_alternatives(lesson)):
        grade = benches.judge(lesson.hunt, right, ())
        assert grade.verdicts == {name: PASSED}, (right, grade)


def test_nothing_else_is_kept() -> None:
    folder = LOGIN.kept_hunt.parent
    kept = {path.name for path in folder.iterdir() if path.is_file()}
    assert kept == {lesson.kept_hunt.name for lesson in find_lessons()}


@EACH
def test_every_wrong_solution_has_a_family(lesson: Lesson) -> None:
    wrong = [each for each in find_mistakes(lesson) if each.in_lesson]
    known = hunting.families(lesson)
    assert {each.killed_by[0] for each in wrong} == set(known)
    for words in known.values():
        assert len(words) <= 60 and words.isascii() and "test_" not in words, words


@EACH
def test_a_wrong_solution_fits_the_screen(lesson: Lesson) -> None:
    for each in find_mistakes(lesson):
        if each.in_lesson:
            lines = hunting.diff(each)
            assert len(lines) <= 40, each.name
            check_screen("\n".join(lines))


@EACH
def test_the_text_turns_the_tables(lesson: Lesson) -> None:
    text = lesson.readme.read_text("utf-8")
    assert "\n## Turn the tables\n" in text
    assert f"`pytest lessons/{lesson.number} --hunt`" in text


def test_the_screens_name_no_test_that_kills() -> None:
    for name in ("hunt", "hunt_shown"):
        screen = (FOLDER / f"{name}.txt").read_text("utf-8")
        assert not [test for test in named_tests(LOGIN) if test in screen]


# --- a hunt ---------------------------------------------------------------------------------

ODD = """

import os
import sys

# A name that begins with test is no test where it is imported, and a helper is none.
def helper() -> str:
    return sys.modules["solutions.login"].__file__


def test_only_the_usual_file() -> None:
    assert helper().endswith("login.py"), "It is another file."


@pytest.mark.parametrize("address", ["::1", "a b"])
def test_parameters_have_any_name(address: str) -> None:
    assert address == "::1", f"It is {address}."


def test_a_loop() -> None:
    while True:
        pass


def test_an_exit() -> None:
    os._exit(3)


def test_a_fixture(clientt: object) -> None:
    pass


@pytest.fixture
def fine() -> None:
    pass


class InAClass:
    def test_nothing(self) -> None:
        pass


class TestInAClass:
    def test_nothing(self) -> None:
        pass


def test_twice() -> None:
    assert False


def test_twice() -> None:
    pass
"""


@pytest.fixture(scope="module")
def workbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hunt")
    copy_workbook(folder)
    hunt(folder, "", every=16)
    limit = Path("lessons", "harness", "limit.py")
    edit(limit, ("\nSECONDS = 10 ", "\nSECONDS = 1 "))(folder)
    edit(Path("tests", "hunt.py"), ("TO_FIND = 20 ", "TO_FIND = 5 "))(folder)
    return folder


def _hunt(folder: Path, text: str, *options: str) -> tuple[int, str]:
    """Return the exit code, and the screen without its line breaks."""
    (folder / HUNT).write_text(text, "utf-8")
    before = _files(folder)
    done = run_pytest("lessons/03", "--hunt", *options, folder=folder)
    assert _files(folder) == before, "A hunt writes nothing."
    check_screen(done.stdout)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def _files(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if "__pycache__" not in path.parts}


def test_each_attack_that_refuses_right_code_is_shown(workbook: Path) -> None:
    code, said = _hunt(workbook, LOGIN.kept_hunt.read_text("utf-8") + ODD)
    other = find_alternatives(LOGIN)[0].relative_to(ROOT)
    for words in (
        f"test_only_the_usual_file (hunt.py:36) refuses right code on {other} says It is another",
        "test_parameters_have_any_name (hunt.py:41) refuses right code on solutions/login.py "
        "says It is a b.",
        f"refuses right code on solutions/login.py says {hunting.ENDLESS}",
        "test_an_exit (hunt.py:50) refuses right code on solutions/login.py says",
        "says There is no fixture clientt. lessons/conftest.py has those of the lessons.",
        "note InAClass is never run: the name of a class of tests begins with Test.",
        "note test_twice is there 2 times, and the last one counts.",
        "your 3 attacks catch 1 of 6 wrong solutions",
        "The lesson's 15 tests catch 6 of 6.",
    ):
        assert words in said, (words, said)
    assert "helper is never run" not in said and "fine" not in said
    assert code == 1


def test_without_a_good_attack_nothing_is_sent(workbook: Path) -> None:
    code, said = _hunt(workbook, "def test_no() -> None:\n    assert 1 == 2\n")
    assert "says assert 1 == 2" in said
    assert said.endswith("So no attack of yours is sent against the wrong ones: mend it first.")
    assert "catch" not in said
    assert code == 1


def test_where_a_solution_lies_tells_nothing(workbook: Path) -> None:
    """Wrong ones lie in a new folder. So right ones do, or all wrong ones would be caught by it."""
    text = (
        "import os\nimport sys\n\n\ndef test_where(candidate: object) -> None:\n"
        "    file = sys.modules['solutions.login'].__file__\n"
        "    assert file.startswith(os.getcwd()), 'It lies elsewhere.'\n"
    )
    code, said = _hunt(workbook, text)
    assert "refuses right code on solutions/login.py says It lies elsewhere." in said
    assert code == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def test_x(:\n    pass\n", "hunt.py:1 does not parse: invalid syntax. Mend that, then"),
        ("import nothing_like_it\n", "hunt.py:1 fails on import: ModuleNotFoundError: No module"),
        ("raise SystemExit(3)\n", "hunt.py ended pytest when it was imported. Mend that, then"),
        ("while True:\n    pass\n", "did not come to an end when it was imported. Mend that,"),
        ("", "hunt.py has no test: its name begins with test_. Write one, then again: pytest"),
        ("def attack() -> None:\n    pass\n", "begins with test_. Give attack such a name, then"),
        ("import pytest\npytest.skip('later', allow_module_level=True)\n", "has no test"),
    ],
)
def test_what_cannot_be_hunted_with_is_one_sentence(
    workbook: Path, text: str, sentence: str
) -> None:
    code, said = _hunt(workbook, text)
    assert sentence in said
    assert "pytest lessons/03 --hunt" in said
    assert len(said) < 240
    assert code == 1


def test_without_its_file_it_says_how_to_get_it_back(workbook: Path) -> None:
    (workbook / HUNT).unlink(missing_ok=True)
    done = run_pytest("lessons/03", "--hunt", folder=workbook)
    command = " ".join(done.stdout.split()).partition("Bring the example back: ")[2]
    assert command == "cp lessons/harness/hunts/login.py lessons/03_login/hunt.py"
    assert done.returncode == 1
    _, source, to = command.split()
    shutil.copy(workbook / source, workbook / to)


def test_a_changed_reference_is_said(workbook: Path) -> None:
    reference = workbook / "solutions" / "login.py"
    text = reference.read_text("utf-8")
    reference.write_text(text.replace("no-store", "no-cache"), "utf-8")
    code, said = _hunt(workbook, LOGIN.kept_hunt.read_text("utf-8"))
    reference.write_text(text, "utf-8")
    assert said.endswith("Bring it back: git checkout solutions/login.py")
    assert code == 1


# --- its ends -------------------------------------------------------------------------------


def test_after_its_time_the_rest_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hunting, "FOR_ALL", -1)
    assert list(hunting.catches(LOGIN, ["", ""], ["test_x"])) == [None, None]


def test_ctrl_c_ends_it(workbook: Path) -> None:
    slow = "import time\n\n\ndef test_slow() -> None:\n    time.sleep(30)\n"
    (workbook / HUNT).write_text(slow, "utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "lessons/03", "--hunt"],
        cwd=workbook,
        env=ENVIRONMENT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("Lesson 03 login   the hunt")
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == "Stopped.\n"
        assert process.wait(20) == 2


def test_the_last_one_is_shown_and_none_after_it() -> None:
    missed = list(find_mistakes(LOGIN))[:2]
    assert "--hunt=show:1" in " ".join(hunting._shown_mistake(missed, 2))
    assert hunting._shown_mistake(missed, 3) == ["2 get past you: --hunt=show:2 is the last."]
    assert hunting._shown_mistake([], 1) == ["done   Nothing gets past you."]
    assert hunting._shown_families(LOGIN, [])[-1] == "done   Nothing gets past you."


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("lessons --hunt", "--hunt is about your file in one lesson: pytest lessons/01 --hunt"),
        ("--hunt", "--hunt is about your file in one lesson: pytest lessons/01 --hunt"),
        ("lessons/03 --hunt --naive", "--hunt is about your file in one lesson"),
        ("lessons/03 --hunt --watch", "--hunt goes without --watch."),
        ("lessons/03 --hunt --hint", "--hunt goes without --hint."),
        ("lessons/03 --hunt -k me", "--hunt goes without -k."),
        ("lessons/03::test_x --hunt", "--hunt runs all tests of hunt.py, so it goes without ::."),
        ("lessons/03 --hunt=shw", "there are --hunt, --hunt=show and --hunt=show:2."),
        ("lessons/03 --hunt=show:0", "there are --hunt, --hunt=show and --hunt=show:2."),
        ("--hunt lessons/44", "There is no lesson '44'."),
    ],
)
def test_what_does_not_go_together_is_said(typed: str, sentence: str) -> None:
    done = run_pytest(*typed.split())
    assert sentence in done.stderr
    assert done.returncode == 4


def test_the_lesson_may_stand_behind_it(workbook: Path) -> None:
    (workbook / HUNT).write_text("", "utf-8")
    done = run_pytest("--hunt", "lessons/03", folder=workbook)
    assert "hunt.py has no test" in done.stdout
