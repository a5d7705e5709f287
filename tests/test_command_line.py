"""What a learner types, and what a broken module looks like on the screen."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.harness.catalogue import LESSONS, ROOT, UnknownLesson, expand, find_lessons
from tests.everyday import IS_EVERYDAY
from tests.judge import run_pytest

LATEST = f"lessons/{find_lessons()[-1].number}" if IS_EVERYDAY else "lessons"  # stands on all

HEADLINE = re.compile(r"^Lesson (\d\d) (\w+)   (\d+) of (\d+)   \[[#.]+\]\s+attacks: (.+)$", re.M)


def headline(printed: str) -> tuple[str, ...]:
    """Return number, name, passed and all tests, and the attacks, from the learner's screen."""
    found = HEADLINE.findall(printed)
    assert len(found) == 1, printed
    return found[0]


def check_screen(printed: str) -> None:
    """Every line of the screen is ASCII and fits a terminal of 80 columns."""
    for line in printed.splitlines():
        assert line.isascii(), line
        assert len(line) <= 80, line
    assert "Traceback" not in printed


# --- short paths ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "folder", "meant"),
    [
        ("lessons/03", ROOT, "lessons/03_login"),
        ("lessons/3", ROOT, "lessons/03_login"),
        ("lessons/login", ROOT, "lessons/03_login"),
        ("lessons/03/", ROOT, "lessons/03_login"),
        ("./lessons/03", ROOT, "lessons/03_login"),
        ("03", ROOT, "lessons/03_login"),
        ("lessons/03::test_x", ROOT, "lessons/03_login/test_login.py::test_x"),
        ("lessons/03::test_x[a/b]", ROOT, "lessons/03_login/test_login.py::test_x[a/b]"),
        ("lessons/03_login::test_x", ROOT, "lessons/03_login/test_login.py::test_x"),
        ("lessons/03/test_login.py", ROOT, "lessons/03_login/test_login.py"),
        ("lessons/03/test_login.py::test_x", ROOT, "lessons/03_login/test_login.py::test_x"),
        ("lessons/03_login/login.py", ROOT, "lessons/03_login/test_login.py"),
        ("03", LESSONS, "03_login"),
        ("03::test_x", LESSONS, "03_login/test_login.py::test_x"),
        ("../02", LESSONS / "03_login", "../02_tokens"),
        ("lessons", ROOT, "lessons"),
        ("tests/test_users.py", ROOT, "tests/test_users.py"),
        (".", LESSONS / "03_login", "."),
        ("no/such/thing.py", ROOT, "no/such/thing.py"),
    ],
)
def test_short_paths(typed: str, folder: Path, meant: str) -> None:
    assert expand(typed, folder) == meant
    absolute = str(folder / typed)
    assert expand(absolute, ROOT).startswith("/")


def test_an_unknown_lesson_lists_those_that_there_are() -> None:
    for typed in ("lessons/99", "lessons/nosuch", "99"):
        with pytest.raises(UnknownLesson, match=r"There are: 01 hashing, 02 tokens"):
            expand(typed, ROOT)
    done = run_pytest("lessons/99")
    assert done.returncode == 4
    printed = done.stdout + done.stderr
    assert f"There is no lesson '99'. There are: 01 {find_lessons()[0].slug}" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["lessons/02"], ROOT),
        (["02"], ROOT),
        (["02"], LESSONS),
        ([], LESSONS / "02_tokens"),
        (["."], LESSONS / "02_tokens"),
        (["../02"], LESSONS / "03_login"),
    ],
)
def test_a_lesson_runs_from_everywhere(arguments: list[str], folder: Path) -> None:
    done = run_pytest(*arguments, folder=folder)
    assert done.returncode == 1
    number, name, passed, *_ = headline(done.stdout)
    assert (number, name, passed) == ("02", "tokens", "0")
    check_screen(done.stdout)


def test_the_screen_s_command_works_from_the_lesson_s_folder() -> None:
    done = run_pytest("lessons/02", folder=LESSONS / "02_tokens")
    assert headline(done.stdout)[0] == "02"


def test_one_test_alone() -> None:
    done = run_pytest("lessons/03::test_the_answer_is_not_cached", "--solutions")
    assert headline(done.stdout)[2:] == ("1", "1", "1 refused")


def test_bare_pytest_collects_the_workbook_s_own_tests_only() -> None:
    done = run_pytest("--collect-only", "-q")
    assert "tests/test_users.py::" in done.stdout
    assert not re.search(r"^lessons/", done.stdout, re.M)


# --- whose code is graded -------------------------------------------------------------------


def test_all_lessons_at_once_never_meet() -> None:
    done = run_pytest("lessons", "--solutions")
    assert done.returncode == 0, done.stdout
    table = re.findall(r"^(\d\d) \w+ +(\d+) of (\d+) +\[#+\] .*  done$", done.stdout, re.M)
    assert [number for number, *_ in table] == [lesson.number for lesson in find_lessons()]
    assert all(passed == tests for _, passed, tests in table)
    check_screen(done.stdout)


def test_the_references_raise_no_warning_of_their_own() -> None:
    done = run_pytest("lessons", "--solutions")  # where pyproject.toml makes each an error
    assert done.returncode == 0
    assert "warning" not in done.stdout


def test_naive_shows_every_attack_with_its_transcript() -> None:
    for lesson in find_lessons():
        done = run_pytest(str(lesson.folder), "--naive")
        attacks = re.findall(r"^--- test_\w+ \(attack: open\) -+$", done.stdout, re.M)
        assert headline(done.stdout)[4] == f"{len(attacks)} open"
        for part in re.split(r"^--- ", done.stdout, flags=re.M)[1:]:
            assert re.search(r"^      -> ", part, re.M), part
            assert re.search(r"^>   ", part, re.M), part
        check_screen(done.stdout)


def test_two_choices_are_one_too_many() -> None:
    done = run_pytest("lessons/01", "--naive", "--solutions")
    assert done.returncode == 4
    assert "Choose one of --solutions and --naive." in done.stderr


def test_a_candidate_that_is_not_there() -> None:
    done = run_pytest("lessons/01", "--candidate=nowhere.py")
    assert done.returncode == 4
    assert "--candidate: there is no file nowhere.py." in done.stderr


def test_a_candidate_is_for_one_lesson() -> None:
    done = run_pytest("lessons", "--candidate=solutions/hashing.py")
    assert done.returncode == 4
    assert "--candidate grades one lesson" in done.stderr


def test_pytest_s_own_view_is_still_there() -> None:
    assert "PASSED" in run_pytest("lessons/02", "-v", "--solutions").stdout
    assert "TODO 1, 2 to write. The rest is right." in run_pytest("lessons/02", "-v").stdout
    done = run_pytest("lessons/02", "-v", "--naive")
    assert re.search(r"^> +assert .+$", done.stdout, re.M), done.stdout
    headline(done.stdout)


# --- the learner's file ---------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the workbook in which a test may write."""
    ignore = shutil.ignore_patterns("__pycache__", "alternatives", "mistakes")
    for name in ("solutions", "lessons"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("conftest.py", "pyproject.toml", "dev.env"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_reference_over_the_starter_is_green_and_says_what_was_achieved(clone: Path) -> None:
    for lesson in find_lessons():
        shutil.copy(lesson.reference, clone / "lessons" / lesson.folder.name)
        done = run_pytest(f"lessons/{lesson.number}", folder=clone)
        assert done.returncode == 0, done.stdout
        assert re.search(r"^done   \S", done.stdout, re.M)
        assert f"uvicorn lessons.{lesson.folder.name}.{lesson.slug}:app" in done.stdout
        assert "What the tutorials get wrong" in done.stdout
        check_screen(done.stdout)
    assert run_pytest(LATEST, "--mine", folder=clone).returncode == 0


def test_mine_puts_the_learner_s_earlier_steps_below(clone: Path) -> None:
    for lesson in find_lessons():
        shutil.copy(lesson.reference, clone / "lessons" / lesson.folder.name)
    hashing = clone / "lessons" / "01_hashing" / "hashing.py"
    text = hashing.read_text().replace("return True, hash_password(plain)", "return False, None")
    hashing.write_text(text)
    assert run_pytest("lessons/03", folder=clone).returncode == 0
    done = run_pytest("lessons/03", "--mine", folder=clone)
    assert done.returncode == 1
    assert "test_a_login_replaces_an_old_hash" in done.stdout


def test_without_references_the_learner_s_own_steps_serve(clone: Path) -> None:
    for lesson in find_lessons():
        shutil.copy(lesson.reference, clone / "lessons" / lesson.folder.name)
        (clone / "solutions" / f"{lesson.slug}.py").unlink()
    assert run_pytest(LATEST, folder=clone).returncode == 0


def _with_body(text: str, todo: int, body: str) -> str:
    """Fill in one TODO of a starter."""
    return re.sub(rf"    raise NotImplementedError\(.TODO {todo}.*\n", lambda _: body, text)


def test_half_done(clone: Path) -> None:
    """One TODO done: the screen leads to the next one."""
    starter = clone / "lessons" / "01_hashing" / "hashing.py"
    text = starter.read_text()
    body = (
        "    secret = password.encode()\n"
        "    if len(secret) > 72 or b'\\0' in secret:\n"
        "        raise ValueError\n"
        "    return secret\n"
    )
    starter.write_text(_with_body(text, 1, body))
    done = run_pytest("lessons/01", folder=clone)
    line = text[: text.index("def hash_password")].count("\n") + len(body.splitlines())
    assert f"do     TODO 2 in lessons/01_hashing/hashing.py:{line}, hash_password" in done.stdout
    assert 'read   lessons/01_hashing/README.md, "TODO 2: ' in done.stdout


def _without(function: str) -> Callable[[str], str]:
    return lambda text: text.replace(f"def {function}(", f"def {function}_renamed(")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: "", "lessons/01_hashing/hashing.py is empty."),
        (lambda text: "   \n\n", "lessons/01_hashing/hashing.py is empty."),
        (
            lambda text: text + "\ndef broken(:\n",
            r"lessons/01_hashing/hashing.py:\d+ does not parse: invalid syntax.",
        ),
        (
            lambda text: text + "\n  x = 1\n",
            r"lessons/01_hashing/hashing.py:\d+ does not parse: unexpected indent.",
        ),
        (
            lambda text: text + "\nprint(undefined_name)\n",
            r"lessons/01_hashing/hashing.py:\d+ fails on import: NameError: "
            "name 'undefined_name' is not defined",
        ),
        (
            lambda text: text + "\nimport no_such_library\n",
            r"lessons/01_hashing/hashing.py:\d+ fails on import: ModuleNotFoundError: "
            "No module named 'no_such_library'",
        ),
        (
            lambda text: text + "\nraise SystemExit(3)\n",
            r"lessons/01_hashing/hashing.py:\d+ fails on import: SystemExit: 3",
        ),
        (
            _without("verify_password"),
            "lessons/01_hashing/hashing.py has no `verify_password`, and the lesson needs it. "
            "Put back `def verify_password.plain: str, hashed: str. -> bool`.",
        ),
        (
            lambda text: text.replace("def hash_password(password: str)", "def hash_password()"),
            r"lessons/01_hashing/hashing.py: hash_password\(\) -> str does not fit \(too many "
            r"positional arguments\). "
            r"The lesson calls `def hash_password\(password: str\) -> str`.",
        ),
        (
            lambda text: text.encode().replace(b"Lesson", b"\xff\xfe").decode("latin-1"),
            None,
        ),
    ],
    ids=[
        "empty",
        "blank",
        "syntax",
        "indent",
        "name",
        "import",
        "exit",
        "function",
        "signature",
        "odd letters",
    ],
)
def test_a_broken_module_is_one_sentence(
    clone: Path, change: Callable[[str], str], sentence: str | None
) -> None:
    starter = clone / "lessons" / "01_hashing" / "hashing.py"
    reference = (ROOT / "solutions" / "hashing.py").read_text("utf-8")
    starter.write_text(change(reference), "utf-8")
    done = run_pytest("lessons/01", folder=clone)
    check_screen(done.stdout)
    if sentence is None:
        assert done.returncode == 0
        return
    assert done.returncode == 1
    assert re.search(sentence, " ".join(done.stdout.split())), done.stdout
    assert re.search(r"^next   mend lessons/01_hashing/hashing.py", done.stdout, re.M)
    assert len(done.stdout.splitlines()) < 25, done.stdout


def test_a_quick_edit_of_equal_length_is_seen(clone: Path) -> None:
    """Byte code that was cached for the first text must not serve for the second."""
    mine = clone / "lessons" / "03_login" / "login.py"
    reference = (ROOT / "solutions" / "login.py").read_text("utf-8")
    for text, code in ((reference, 0), (reference.replace('"no-store"', '"no-stare"'), 1)):
        mine.write_text(text, "utf-8")
        assert run_pytest("lessons/03", folder=clone).returncode == code


def test_what_one_test_leaves_behind_the_next_does_not_see(clone: Path) -> None:
    """A module that remembers logins in a global: each test finds it fresh."""
    mine = clone / "lessons" / "03_login" / "login.py"
    text = (ROOT / "solutions" / "login.py").read_text("utf-8")
    text = text.replace("@lru_cache\n", "tries: list[str] = []\n\n\n@lru_cache\n").replace(
        "    user = await run_hashing(",
        "    tries.append(form.username)\n"
        "    if len(tries) > 30:\n"
        "        raise HTTPException(429)\n"
        "    user = await run_hashing(",
    )
    mine.write_text(text, "utf-8")
    done = run_pytest("lessons/03", folder=clone)
    assert done.returncode == 0, done.stdout


def test_each_todo_counts_by_itself(clone: Path) -> None:
    """Of a finished TODO one sees at once whether it is right, whatever else is to write."""
    mine = clone / "lessons" / "01_hashing" / "hashing.py"
    states = "   ".join(f"TODO {number} to write" for number in (1, 2, 3, 4))
    assert states in run_pytest("lessons/01", folder=clone).stdout

    starter = mine.read_text()
    mine.write_text(_with_body(starter, 2, "    return hash(password)\n"))
    done = run_pytest("lessons/01", folder=clone).stdout
    assert "TODO 1 to write   TODO 2 wrong   TODO 3 to write" in done
    assert re.search(r"^do     fix \S+, hash_password$", done, re.M), done

    text = _with_body(starter, 1, "    return password.encode()\n")
    body = "    return get_password_context().hash(encode_password(password))\n"
    mine.write_text(_with_body(text, 2, body))
    done = run_pytest("lessons/01", folder=clone).stdout
    assert "TODO 1 wrong   TODO 2 right   TODO 3 to write" in done
    assert re.search(r"^do     fix \S+, encode_password$", done, re.M), done
    assert re.search(r"^waits for TODO 3 +test_a_visitor_can_register$", done, re.M), done


def test_a_todo_half_written_is_run_as_it_is(clone: Path) -> None:
    """What the learner prints on the way is seen, and the TODO is still to write."""
    mine = clone / "lessons" / "01_hashing" / "hashing.py"
    text = mine.read_text()
    mine.write_text(
        text.replace(
            "    raise NotImplementedError", "    print('here')\n    raise NotImplementedError", 1
        )
    )
    done = run_pytest("lessons/01", folder=clone).stdout
    assert "    | here" in done
    assert "TODO 1 to write" in done
    assert re.search(r"^do     TODO 1 in \S+, encode_password$", done, re.M), done


def test_an_import_that_only_the_reference_needs_may_go(clone: Path) -> None:
    """An editor removes unused imports at each save. One that is forgotten is still missed."""
    mine = clone / "lessons" / "03_login" / "login.py"
    text = mine.read_text()
    without = text.replace("import secrets\n", "").replace(
        "hash_password, verify_and_upgrade", "verify_and_upgrade"
    )
    assert without != text
    mine.write_text(without)
    done = run_pytest("lessons/03", folder=clone).stdout
    assert "TODO 1 to write   TODO 2 to write   TODO 3 to write" in done
    assert "NameError" not in done
    mine.write_text(_with_body(without, 1, "    return hash_password(secrets.token_hex())\n"))
    done = run_pytest("lessons/03", folder=clone).stdout
    assert "NameError" in done
    assert "TODO 1 wrong" in done


def test_what_the_learner_prints_is_shown(clone: Path) -> None:
    mine = clone / "lessons" / "01_hashing" / "hashing.py"
    body = "    print('looking at', len(password))\n    return b''\n"
    mine.write_text(_with_body(mine.read_text(), 1, body))
    text = _with_body(mine.read_text(), 2, "    return str(encode_password(password))\n")
    mine.write_text(text)
    done = run_pytest("lessons/01", folder=clone)
    assert re.search(r"^    \| looking at \d+$", done.stdout, re.M), done.stdout
    check_screen(done.stdout)


def test_a_missing_await_is_named_and_leaves_no_page_behind(clone: Path) -> None:
    text = (ROOT / "solutions" / "login.py").read_text("utf-8")
    mine = clone / "lessons" / "03_login" / "login.py"
    mine.write_text(text.replace("await run_hashing", "run_hashing"), "utf-8")
    done = run_pytest("lessons/03", folder=clone)
    assert "Is an `await` missing?" in done.stdout
    assert done.stderr == ""
    check_screen(done.stdout)


def test_what_a_refusal_hides_is_said(clone: Path) -> None:
    """Code that catches everything makes each slip of its own a refusal."""
    oauth2 = clone / "lessons" / "04_oauth2" / "oauth2.py"
    text = (ROOT / "solutions" / "oauth2.py").read_text("utf-8")
    text = text.replace("decode_token(token)", "decode_token(tokn)")
    oauth2.write_text(text.replace("except InvalidToken as", "except Exception as"), "utf-8")
    printed = " ".join(run_pytest("lessons/04", folder=clone).stdout.split())
    line = r"lessons/04_oauth2/oauth2\.py:\d+"
    told = rf"401, not 200\. the 401 was raised at {line}, because of NameError: .* \({line}\)"
    assert re.search(told, printed), printed


def test_an_unfinished_earlier_lesson_is_named(clone: Path) -> None:
    (clone / "solutions" / "hashing.py").unlink()
    done = run_pytest("lessons/03", folder=clone)
    printed = " ".join(done.stdout.split())
    assert re.search(r"lessons/01_hashing/hashing.py:\d+ is not done yet \(TODO 2: ", printed), (
        printed
    )
    assert "Finish that lesson first." in printed
    assert re.search(r"^next   pytest lessons/01$", done.stdout, re.M), done.stdout


def test_a_deleted_file_is_not_a_finished_lesson(clone: Path) -> None:
    (clone / "lessons" / "01_hashing" / "hashing.py").unlink()
    done = run_pytest("lessons/01", folder=clone)
    assert done.returncode == 1
    assert "There is no lessons/01_hashing/hashing.py" in done.stdout
    assert "done " not in done.stdout
    assert "next   pytest lessons/01 --reset" in done.stdout


def test_no_reference_no_traceback(clone: Path) -> None:
    (clone / "solutions" / "tokens.py").unlink()
    done = run_pytest("lessons/02", "--solutions", folder=clone)
    assert "There is no solutions/tokens.py in this copy of the workbook." in done.stdout
    check_screen(done.stdout)


def test_a_swallowed_cause_is_shown(clone: Path) -> None:
    """`raise InvalidToken from None` hides what the learner needs to see."""
    text = (ROOT / "solutions" / "tokens.py").read_text("utf-8")
    mine = clone / "lessons" / "02_tokens" / "tokens.py"
    mine.write_text(text.replace("            audience=settings.jwt_audience,\n", ""), "utf-8")
    done = run_pytest("lessons/02", folder=clone)
    assert ", because of InvalidAudienceError: Invalid audience" in " ".join(done.stdout.split())


def test_what_pytest_finds_odd_is_no_error(clone: Path) -> None:
    """A cache that cannot be written, as in a folder that belongs to somebody else."""
    shutil.copy(ROOT / "solutions" / "hashing.py", clone / "lessons" / "01_hashing")
    cache = ("-p", "cacheprovider", "-o", "cache_dir=pyproject.toml")
    done = run_pytest(*cache, "lessons/01", folder=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_one_green_test_is_not_the_lesson(clone: Path) -> None:
    shutil.copy(ROOT / "solutions" / "hashing.py", clone / "lessons" / "01_hashing")
    done = run_pytest("lessons/01::test_a_nul_byte_cuts_nothing", folder=clone)
    assert done.stdout.rstrip().endswith("next   pytest lessons/01 for all tests of the lesson")
    assert "done " not in done.stdout


def test_an_old_pytest_is_refused(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    command_line = request.config.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    monkeypatch.setattr(pytest, "version_tuple", (8, 3, 5))
    with pytest.raises(pytest.UsageError, match="too old"):
        command_line._check_installed()
