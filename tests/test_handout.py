"""The hand-out without answers, played: what its texts and its screens say is true in it."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lessons.harness.catalogue import LESSONS, ROOT, Lesson, expand, find_lessons
from lessons.harness.composite import Module, find_todos
from lessons.harness.watch import WAITING
from tests.golden import LOGIN, edit, finish, without_what_is_drawn
from tests.handout import FILES, for_learners
from tests.judge import ENVIRONMENT, run_pytest
from tests.processes import serve
from tests.terminal import Terminal, pty
from tests.test_command_line import check_screen

HASHING = Path("lessons", "01_hashing", "hashing.py")
SLUGS = [lesson.slug for lesson in find_lessons()]


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Type the teacher's command."""
    return subprocess.run(
        [sys.executable, "-m", "tests.handout", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("class") / "workbook"
    done = make(str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"made   {folder}: the starters of 13 lessons, and no answers",
        "then   learners follow README.md there, and type: pytest lessons/01",
    ]
    run_pytest("lessons/01", folder=folder)  # compiles all that the copies need
    return folder


@pytest.fixture
def handout(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "workbook")


def screen(folder: Path, *arguments: str) -> str:
    """Return what a learner reads; it fits the terminal and speaks of nothing that is not there."""
    done = run_pytest(*arguments, folder=folder)
    assert done.stderr == ""
    check_screen(done.stdout)
    for path in re.findall(r"(?:lessons|solutions|tests)/[\w/]+\.\w+", done.stdout):
        assert (folder / path).exists() or f"no {path}" in done.stdout, path
    return done.stdout


def texts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.md"))


# --- what is in it --------------------------------------------------------------------------


def _code(folder: Path) -> str:
    """Return all Python in a folder, also what notebooks hold and print."""
    found = [path.read_text("utf-8") for path in folder.rglob("*.py")]
    for path in folder.rglob("*.ipynb"):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            outputs = [output.get("text", []) for output in cell.get("outputs", [])]
            found += map("".join, [cell["source"], *outputs])
    return "\n".join(found)


def _answers(lesson: Lesson) -> Iterator[str]:
    """Yield the bodies of the functions that a learner writes, without their docstrings."""
    text, starter = (path.read_text("utf-8") for path in (lesson.reference, lesson.kept_starter))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1 if ast.get_docstring(node) else 0]
            body = "\n".join(text.splitlines()[first.lineno - 1 : node.end_lineno])
            if body not in starter and body.count("\n") >= 2:
                yield body


ANSWERS = [answer for lesson in find_lessons() for answer in _answers(lesson)]


def test_it_holds_no_answers(made: Path) -> None:
    assert len(ANSWERS) > len(find_lessons())
    here = _code(ROOT / "solutions")
    assert all(answer in here for answer in ANSWERS)
    left = _code(made)
    assert not [answer for answer in ANSWERS if answer in left]
    assert not [lesson for lesson in find_lessons() if (made / "solutions" / lesson.slug).exists()]
    assert {path.name for path in made.iterdir()} - {"__pycache__", ".pytest_cache"} == {
        *FILES,
        "lessons",
        "solutions",
    }


def test_what_the_teacher_has_written_stays_at_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("lessons", "solutions"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, home)
    (home / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "handout.py", home / "tests")
    finish(*SLUGS)(home)
    for lesson in find_lessons():
        (home / lesson.hunt.relative_to(ROOT)).write_text("THEIRS = True\n", "utf-8")
    shutil.copy(home / HASHING, home / HASHING.with_name("hashing.before-reset-1.py"))
    assert make("../out", folder=home).returncode == 0
    for lesson in find_lessons():
        starter = tmp_path / "out" / lesson.starter.relative_to(ROOT)
        assert starter.read_text("utf-8") == lesson.kept_starter.read_text("utf-8")
        attacks = tmp_path / "out" / lesson.hunt.relative_to(ROOT)
        assert attacks.read_text("utf-8") == lesson.kept_hunt.read_text("utf-8")
    assert not list((tmp_path / "out").rglob("*before-reset*"))


def test_a_hunt_has_nothing_to_catch_and_says_what_to_do_instead(handout: Path) -> None:
    finish("hashing", "tokens")(handout)
    said = run_pytest("lessons/03", "--hunt", folder=handout).stderr
    assert "This copy has no wrong solutions: each is nearly the answer." in said
    command = said.strip().rpartition(": ")[2]
    assert command == "pytest lessons/03/hunt.py --naive"
    assert "attacks: 1 open" in screen(handout, *command.split()[1:])
    assert "--hunt" not in (handout / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("{there}", "{there} is there already. Name a new folder, or an empty one."),
        ("{there}/file", "{there}/file is there already. Name a new folder, or an empty one."),
        ("{there}/file/new", "Not a directory"),
        (f"{LESSONS}/new", f"{LESSONS}/new is in lessons/. Name a folder outside of it."),
    ],
)
def test_it_writes_over_nothing(path: str, sentence: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").write_text("mine")
    done = make(path.format(there=there))
    assert done.returncode == 2
    assert sentence.format(there=there) in done.stderr
    assert "Traceback" not in done.stderr
    assert [each.name for each in there.iterdir()] == ["file"]
    assert not (LESSONS / "new").exists()


def test_it_may_be_a_zip(made: Path, tmp_path: Path) -> None:
    assert make(str(tmp_path / "workbook.zip")).returncode == 0
    with zipfile.ZipFile(tmp_path / "workbook.zip") as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    written = [path for path in made.rglob("*") if path.is_file()]
    caches = ("__pycache__", ".pytest_cache")
    assert names == {
        path.relative_to(made.parent).as_posix()
        for path in written
        if not any(name in path.parts for name in caches)
    }
    assert make(str(tmp_path / "workbook.zip")).returncode == 2


def test_it_may_come_without_hints(tmp_path: Path) -> None:
    assert make(str(tmp_path / "out"), "--without-hints").returncode == 0
    assert not list(tmp_path.rglob("HINTS.md"))
    for path in texts(tmp_path):
        text = path.read_text("utf-8").replace("type hints", "types")
        lines = [line for line in text.splitlines() if "hint" in line.lower()]
        assert not [line for line in lines if "--watch" not in line], path
    printed = screen(tmp_path / "out", "lessons/01", "--hint")
    assert printed.endswith("hint   There are no hints in this copy of the workbook.\n")


def test_its_package_can_be_installed(made: Path) -> None:
    project = tomllib.loads((made / "pyproject.toml").read_text("utf-8"))
    for package in project["tool"]["setuptools"]["packages"]:
        assert (made / package.replace(".", "/") / "__init__.py").is_file(), package
    for file in (project["project"]["readme"], *project["project"]["license-files"]):
        assert (made / file).is_file()


# --- its texts ------------------------------------------------------------------------------


def test_a_text_leaves_out_what_is_marked() -> None:
    text = (
        "One.<!-- not in the hand-out --> Two\nlines.<!-- /not in the hand-out -->"
        "<!-- in the hand-out:  Three. -->\n\n"
        "<!-- not in the hand-out -->\n## Four\n\nFour.\n\n<!-- /not in the hand-out -->\n\n"
        "| five | <!-- not in the hand-out --> |\n| six | |\n\n"
        "<!-- hints -->\nSeven.\n\n<!-- /hints -->\nEight.\n"
    )
    assert for_learners(text) == "One. Three.\n\n| six | |\n\nSeven.\n\nEight.\n"
    assert for_learners(text, with_hints=False) == "One. Three.\n\n| six | |\n\nEight.\n"


def test_its_texts_speak_of_what_is_there(made: Path) -> None:
    assert len(texts(made)) == 3 + 2 * len(find_lessons())
    for path in texts(made):
        text = path.read_text("utf-8")
        assert "<!--" not in text
        assert "\n\n\n" not in text
        for target in re.findall(r"\]\(([^)#\s]+)\)", text):
            assert target.startswith("http") or (path.parent / target).exists(), target
        for target in re.findall(r"\b(?:lessons|notebooks|solutions|tests)/[\w./]*\w", text):
            assert Path(expand(str(made / target), ROOT)).exists() or _is_short(target), target
        for word in ("reference", "git", "clone", "cp", "notebook", "--solutions", "myapp"):
            assert not re.search(rf"(?<![\w-]){word}\b(?! TEXT)", text), (path, word)


def _is_short(path: str) -> bool:
    """Tell whether a path is that of a lesson as learners type it."""
    return (ROOT / expand(path, ROOT)).exists()


def test_every_app_that_they_name_starts(made: Path) -> None:
    named = {
        app
        for path in texts(made)
        for app in re.findall(r"uvicorn ((?!lessons\.harness)[\w.]+):app", path.read_text("utf-8"))
    }
    assert len(named) == len(find_lessons()) + 1
    code = "\n".join(f"import_module({name!r}).app.openapi()" for name in sorted(named))
    done = subprocess.run(
        [sys.executable, "-c", f"from importlib import import_module\n{code}"],
        cwd=made,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("app", ["lessons.06_rbac.rbac:app", "solutions.main:app"])
def test_an_untouched_app_starts_and_its_log_names_the_todo(
    app: str, made: Path, tmp_path: Path
) -> None:
    person = {"username": "erin", "password": "trombone + seven"}
    with serve(app, tmp_path / "log", made) as client:
        assert client.get("/docs").status_code == 200
        assert client.get("/openapi.json").status_code == 200
        assert client.post("/register", json=person).status_code == 500
    log = (tmp_path / "log").read_text("utf-8")
    assert f"{HASHING.as_posix()}" in log
    assert "NotImplementedError: TODO 2: hash the encoded password" in log


# --- its screens ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ([], "Name a lesson: pytest lessons/01. For all of them: pytest lessons"),
        (["."], "Name a lesson: pytest lessons/01. For all of them: pytest lessons"),
        (["lessons/01", "--solutions"], "This copy has no reference solutions."),
    ],
)
def test_one_sentence_says_what_to_type(typed: list[str], sentence: str, made: Path) -> None:
    done = run_pytest(*typed, folder=made)
    assert done.returncode == 4
    assert (done.stdout + done.stderr).strip() == f"ERROR: {sentence}"


def test_help_is_given_without_a_lesson(made: Path) -> None:
    done = run_pytest("--help", folder=made)
    assert done.returncode == 0
    assert "--candidate-dir" in done.stdout


def test_lesson_by_lesson(handout: Path) -> None:
    """From the first command to the last one, with the references for a learner's work."""
    readme = (handout / "README.md").read_text("utf-8")
    red, attack = re.findall(r"^```text\n(.*?)^```$", readme, re.M | re.S)
    assert without_what_is_drawn(red.strip("\n")) in screen(handout, "lessons/01")
    for options in ([], ["--naive"], ["--mine"]):
        early = screen(handout, "lessons/03", *options)
        assert "Finish that lesson first." in " ".join(early.split())
        assert early.endswith("\nnext   pytest lessons/01\n")
    finish("hashing")(handout)
    done = screen(handout, "lessons/01")
    assert "TODO 1 right   TODO 2 right   TODO 3 right   TODO 4 right" in done
    assert "start  uvicorn lessons.01_hashing.hashing:app --reload" in done
    assert done.endswith("\nnext   pytest lessons/02\n")
    assert screen(handout, "lessons").endswith("\nnext   pytest lessons/02\n")
    finish("tokens")(handout)
    printed = without_what_is_drawn(screen(handout, "lessons/03", "--naive"))
    assert without_what_is_drawn(attack.strip("\n")) in printed
    finish(*SLUGS)(handout)
    last = screen(handout, f"lessons/{find_lessons()[-1].number}")
    assert last.endswith("\nnext   pytest lessons\n")
    system = "done   your whole system: each lesson on top of your own earlier ones\n"
    assert screen(handout, "lessons").endswith(system)


def test_hint_and_reset(handout: Path) -> None:
    assert "\nhint   `UnicodeEncodeError` is" in screen(handout, "lessons/01", "--hint=more")
    finish("hashing")(handout)
    assert run_pytest("lessons/01", "--reset", folder=handout).returncode == 0
    assert (handout / HASHING).read_text("utf-8") == find_lessons()[0].kept_starter.read_text(
        "utf-8"
    )


def test_the_files_of_others_are_graded(handout: Path, tmp_path: Path) -> None:
    """As the class does for one another; the teacher's own copy has the references."""
    anna = tmp_path / "class" / "anna"
    anna.mkdir(parents=True)
    shutil.copy(ROOT / "solutions" / "hashing.py", anna)
    shutil.copy(ROOT / "solutions" / "login.py", anna)
    one = run_pytest("lessons/01", f"--candidate={anna / 'hashing.py'}", folder=handout)
    assert "Lesson 01 hashing   15 of 15" in one.stdout
    both = run_pytest("lessons", f"--candidate-dir={anna.parent}", folder=handout)
    lines = [line for line in both.stdout.splitlines() if line.startswith("anna")]
    assert lines[0].endswith("  done")
    assert "03 login     lessons/01_hashing/hashing.py:" in lines[1]
    assert "Finish that lesson first." in lines[1]


def _with_todos(lesson: Lesson, number: int) -> str:
    """Return a starter in which so many TODOs are written, as in the reference."""
    text = lesson.kept_starter.read_text("utf-8")
    written = lesson.reference.read_text("utf-8")
    for todo in find_todos(lesson)[:number]:
        place, part = (_lines_of(each, todo.name) for each in (text, written))
        lines = text.splitlines(keepends=True)
        lines[place] = written.splitlines(keepends=True)[part]
        text = "".join(lines)
    return text


def _lines_of(text: str, name: str) -> slice:
    part = Module(text.encode(), name).parts[name]
    return slice(part.lineno - 1, part.end_lineno)


@pytest.mark.parametrize("lesson", find_lessons()[6:], ids=lambda lesson: lesson.slug)
def test_what_is_to_write_is_never_an_earlier_lesson_s(lesson: Lesson, handout: Path) -> None:
    """Routes of earlier lessons call the later ones' TODOs, or are called by them."""
    finish(*SLUGS)(handout)
    file = handout / lesson.starter.relative_to(ROOT)
    for written, todo in enumerate(find_todos(lesson)):
        file.write_text(_with_todos(lesson, written), "utf-8")
        printed = screen(handout, f"lessons/{lesson.number}")
        assert "Finish that lesson first" not in " ".join(printed.split())
        where = f"{lesson.starter.relative_to(ROOT).as_posix()}:"
        assert re.search(rf"^do     TODO {todo.number} in {where}\d+, {todo.name}$", printed, re.M)
        joined = " ".join(printed.split())
        assert re.search(rf'read \S+, "TODO {todo.number}', joined)
        assert f"TODO {todo.number} to write" in printed


@pytest.mark.parametrize("lesson", find_lessons()[9:12], ids=lambda lesson: lesson.slug)
def test_an_earlier_lesson_that_a_later_one_reaches_comes_first(
    lesson: Lesson, handout: Path
) -> None:
    finish(*SLUGS)(handout)
    file = handout / LESSONS.relative_to(ROOT) / "05_refresh" / "refresh.py"
    refresh = next(each for each in find_lessons() if each.slug == "refresh")
    file.write_text(_with_todos(refresh, 0), "utf-8")
    printed = screen(handout, f"lessons/{lesson.number}")
    sentence = "lessons/05_refresh/refresh.py:32 is not done yet (TODO 1:"
    assert sentence in " ".join(printed.split())
    assert printed.endswith("\nnext   pytest lessons/05\n")


@pytest.mark.parametrize(
    ("change", "sentence", "following"),
    [
        (
            lambda file: file.unlink(),
            f"There is no {HASHING.as_posix()}",
            "pytest lessons/01 --reset",
        ),
        (lambda file: file.write_text(""), f"{HASHING.as_posix()} is empty.", None),
        (lambda file: file.write_text("1 / 0"), f"{HASHING.as_posix()}:1 fails on import", None),
    ],
)
def test_a_broken_earlier_file_is_named(
    handout: Path, change: Callable[[Path], object], sentence: str, following: str | None
) -> None:
    change(handout / HASHING)
    printed = run_pytest("lessons/03", folder=handout).stdout
    assert sentence in printed
    following = following or f"mend {HASHING.as_posix()}, then run pytest lessons/03 again"
    assert printed.endswith(f"\nnext   {following}\n")


def test_what_nobody_knows_is_not_called_right(handout: Path) -> None:
    """Whose fault a failure is, no reference shows; so the screen says no more than it knows."""
    edit(HASHING, ("if len(secret) >", "if len(password) >"), first=finish("hashing"))(handout)
    printed = screen(handout, "lessons/01")
    assert "TODO 1 not sure   TODO 2 not sure   TODO 3 not sure" in printed
    assert "do     look at lessons/01_hashing/hashing.py:" in printed
    assert "or at lessons/01_hashing/hashing.py:" in printed
    assert "alone is at fault" not in printed


def test_what_fails_like_known_mistakes_of_one_part_is_looked_for_there(handout: Path) -> None:
    change = ("return True, hash_password(plain)", "return True, None")
    edit(HASHING, change, first=finish("hashing"))(handout)
    printed = screen(handout, "lessons/01")
    assert "TODO 4 not sure" in printed
    assert re.search(r"^do     look at \S+hashing\.py:\d+, verify_and_upgrade$", printed, re.M)
    assert "alone is at fault" not in printed


def test_an_earlier_lesson_that_is_not_green_is_named(handout: Path) -> None:
    outdated = ("return True, hash_password(plain)", "return True, None")
    edit(HASHING, outdated, first=finish("hashing", "tokens", "login"))(handout)
    kept = ("-p", "cacheprovider")  # where it is kept what was green
    both = "(or in lessons 01 and 02, which have not been green as they are now: pytest lessons)"
    assert both in " ".join(screen(handout, "lessons/03", *kept).split())
    screen(handout, "lessons/02", *kept)
    one = "(or in lesson 01, which has not been green as it is now: pytest lessons/01)"
    for options in ([], ["--mine"]):
        assert one in " ".join(screen(handout, "lessons/03", *kept, *options).split())
    finish("hashing")(handout)
    edit(LOGIN, ('"Cache-Control"', '"X-Cache"'))(handout)
    screen(handout, "lessons/01", *kept)
    assert "not been green" not in screen(handout, "lessons/03", *kept)


def test_a_forgotten_word_is_seen_where_it_is_missing(handout: Path) -> None:
    """The crash is further on, in a function that was handed None."""
    change = ('("NUL byte")\n    return secret\n', '("NUL byte")\n')
    edit(HASHING, change, first=finish("hashing"))(handout)
    printed = screen(handout, "lessons/01")
    assert re.search(r"^do     look at \S+:\d+, encode_password$", printed, re.M), printed
    assert "is a `return` missing after it?" in printed


def test_a_forgotten_word_is_seen_before_a_test_needs_it(handout: Path) -> None:
    finish("hashing", "tokens")(handout)
    text = find_lessons()[2].kept_starter.read_text("utf-8")
    todo = re.search(r"    raise NotImplementedError\(.TODO 1.*\n", text)
    assert todo
    (handout / LOGIN).write_text(text.replace(todo[0], "    hash_password('x' * 9)\n"), "utf-8")
    printed = screen(handout, "lessons/03")
    assert re.search(
        r"^do     TODO 2 in .*\n +\(get_dummy_hash: Line \d+: is a `return`", printed, re.M
    )


def test_a_test_alone_says_nothing_of_the_todos(handout: Path) -> None:
    finish("hashing")(handout)
    printed = screen(handout, "lessons/01::test_a_nul_byte_cuts_nothing")
    assert "TODO 1 written   TODO 2 written   TODO 3 written   TODO 4 written" in printed


def test_an_open_todo_is_not_green(handout: Path) -> None:
    """Also where another one does its work: the next lessons import it."""
    known = "        raise unauthorized(str(InvalidToken()))\n    return user\n"
    refusal = """\
    if user.disabled:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Inactive user")
    return user
"""
    edit(
        Path("lessons", "04_oauth2", "oauth2.py"),
        (
            f"{refusal}\n\nC",
            '    raise NotImplementedError("TODO 2: refuse a disabled account")\n\n\nC',
        ),
        (known, known.replace("    return user\n", refusal)),
        ("Depends(get_current_active_user)", "Depends(get_current_user)"),
        first=finish("hashing", "tokens", "login", "oauth2"),
    )(handout)
    printed = screen(handout, "lessons/04")
    assert "TODO 2 to write" in printed
    assert "15 of 15" not in printed
    assert "do     TODO 2 in lessons/04_oauth2/oauth2.py:" in printed


def test_what_waits_is_not_called_right(handout: Path) -> None:
    body = "    return password.encode()\n"
    text = (handout / HASHING).read_text("utf-8")
    text = re.sub(r"    raise NotImplementedError\(.TODO 1.*\n", lambda _: body, text)
    (handout / HASHING).write_text(text, "utf-8")
    printed = screen(handout, "lessons/01")
    assert "TODO 1 written   TODO 2 to write" in printed
    assert "do     TODO 2 in lessons/01_hashing/hashing.py:" in printed


def test_what_is_left_out_is_waited_for_and_nobody_s_fault(handout: Path) -> None:
    """A body that does nothing raises nothing; a declaration works as it was given: wrong."""
    finish(*SLUGS)(handout)
    text = (handout / HASHING).read_text("utf-8")
    body = text[text.index("    secret = ") : text.index("    return secret\n")]
    (handout / HASHING).write_text(
        text.replace(f"{body}    return secret\n", "    pass\n"), "utf-8"
    )
    assert "TODO 1 to write   TODO 2 written" in screen(handout, "lessons/01")
    finish("hashing")(handout)
    lesson = next(lesson for lesson in find_lessons() if lesson.slug == "oauth2")
    file = handout / lesson.starter.relative_to(ROOT)
    starter = lesson.kept_starter.read_text("utf-8")
    (declaration,) = re.findall(r"^# TODO 3:(?:.*\n)+?CurrentUser = .*\n", starter, re.M)
    written = re.sub(
        r"^CurrentUser = .*\n", lambda _: declaration, file.read_text("utf-8"), flags=re.M
    )
    file.write_text(written, "utf-8")
    printed = screen(handout, "lessons/04")
    assert "TODO 1 written   TODO 2 written   TODO 3 to write" in printed
    assert "0 open" not in printed and "look at" not in printed


@pytest.mark.skipif(pty is None, reason="This system has no terminals of that kind.")
def test_it_is_watched(handout: Path) -> None:
    terminal = Terminal(handout, sys.executable, "-m", "pytest", "lessons/01", "--watch")
    try:
        assert "Lesson 01 hashing   0 of 15" in terminal.until(WAITING)
        finish("hashing")(handout)
        assert "Lesson 01 hashing   15 of 15" in terminal.until(WAITING)
    finally:
        os.kill(terminal.process, signal.SIGKILL)
        os.waitpid(terminal.process, 0)
