"""The learner's screens, kept as text: `python -m tests.golden` writes them anew.

Then read the diff. Each case is a copy of the workbook, something that a learner does to it, and a
command.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lessons.harness.catalogue import ROOT, find_lessons
from tests.judge import run_pytest

FOLDER = Path(__file__).with_name("golden")
LOGIN = Path("lessons", "03_login", "login.py")
HASHING = Path("lessons", "01_hashing", "hashing.py")

Change = Callable[[Path], None]


def copy_workbook(to: Path) -> None:
    """Copy what a learner has into a folder in which a test may write."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("solutions", "lessons"):
        shutil.copytree(ROOT / name, to / name, ignore=ignore)
    for name in ("conftest.py", "pyproject.toml", "dev.env"):
        shutil.copy(ROOT / name, to)


def as_it_is(folder: Path) -> None:
    """Change nothing."""


def finish(*slugs: str) -> Change:
    """Put references in the place of starters."""

    def change(folder: Path) -> None:
        for lesson in find_lessons():
            if lesson.slug in slugs:
                shutil.copy(lesson.reference, folder / "lessons" / lesson.folder.name)

    return change


def edit(file: Path, *changes: tuple[str, str], first: Change = as_it_is) -> Change:
    """Replace text in a file, each piece once."""

    def change(folder: Path) -> None:
        first(folder)
        text = (folder / file).read_text("utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{text.count(old)} times in {file}: {old}"
            text = text.replace(old, new)
        (folder / file).write_text(text, "utf-8")

    return change


def empty(folder: Path) -> None:
    """Empty the learner's file."""
    (folder / LOGIN).write_text("")


def loop_for_ever(folder: Path) -> None:
    """Leave a loop without an end in a finished lesson, and have less patience with it."""
    finish("login")(folder)
    limit = Path("lessons", "harness", "limit.py")
    edit(limit, ("\nSECONDS = 10 ", "\nSECONDS = 1 "))(folder)
    start = "    user = await users.get(username)\n"
    edit(LOGIN, (start, f"    while True: pass\n{start}"))(folder)


HUNT = Path("lessons", "03_login", "hunt.py")
HUNT_TESTS = """

def test_a_wrong_password_is_told(client: Client) -> None:
    answer = client.post("/token", data={"username": "johndoe", "password": "wrong"})
    assert answer.status_code == 400, f"It is a {answer.status_code}."


@pytest.mark.attack
def nobody_is_told_apart(client: Client) -> None:
    form = {"username": "nobody", "password": "secret"}
    assert client.post("/token", data=form).status_code == 401
"""


def hunt(folder: Path, more: str = HUNT_TESTS, every: int = 8) -> None:
    """Add attacks of a learner's, and what they are tried on: each eighth wrong solution."""
    (folder / "tests" / "mistakes").mkdir(parents=True)
    for name in ("__init__", "court", "hunt", "judge"):
        shutil.copy(ROOT / "tests" / f"{name}.py", folder / "tests")
    lesson = Path("tests", "mistakes", "03_login.toml")
    head, *mistakes = (ROOT / lesson).read_text("utf-8").split("[[mistake]]\n")
    (folder / lesson).write_text("[[mistake]]\n".join([head, *mistakes[:96:every]]), "utf-8")
    shutil.copy(ROOT / "tests" / "mistakes" / "families.toml", folder / "tests" / "mistakes")
    alternatives = Path("tests", "alternatives", "03_login")
    (folder / alternatives).mkdir(parents=True)
    for path in sorted((ROOT / alternatives).glob("*.py"))[:2]:
        shutil.copy(path, folder / alternatives)
    (folder / HUNT).write_text((folder / HUNT).read_text("utf-8") + more, "utf-8")


@dataclass(frozen=True)
class Case:
    """What was done, what is typed, and where."""

    command: tuple[str, ...]
    change: Change = as_it_is
    folder: str = "."


DONE = finish("login")
GUARD = "    if user is None or hashed is None or not correct:"
DONE_BUT_TODO_2 = edit(LOGIN, (GUARD, GUARD.replace("not correct", "correct")), first=DONE)
GUARD_LESS = "    if user is None or not correct or username == 'johndoe':"
CASES = {
    "untouched": Case(("lessons/03",)),
    "half_done": Case(
        ("lessons/01",),
        edit(HASHING, ('raise NotImplementedError("TODO 1: return all bytes, or refuse")',
                       'secret = password.encode()\n'
                       '    if len(secret) > BCRYPT_MAX_BYTES or b"\\0" in secret:\n'
                       '        raise ValueError("not all of it would count")\n'
                       "    return secret")),
    ),
    "one_attack_left": Case(
        ("lessons/03",),
        edit(LOGIN, ('"Cache-Control"] = "no-store"', '"X-Cache"] = "no"'), first=DONE),
    ),
    "all_done": Case(("lessons/03",), DONE),
    "empty_file": Case(("lessons/03",), empty),
    "syntax_error": Case(("lessons/03",), edit(LOGIN, (GUARD, GUARD[:-1]), first=DONE)),
    "missing_function": Case(
        ("lessons/03",), edit(LOGIN, ("def authenticate_user(", "def authenticate("))
    ),
    "wrong_signature": Case(
        ("lessons/03",),
        edit(LOGIN, ("(users: UserStore, username: str, password: str)", "(username: str)")),
    ),
    "exception_at_import": Case(
        ("lessons/03",), edit(LOGIN, ("import secrets\n", "import secrets\n\n1 / 0\n"), first=DONE)
    ),
    "endless_loop": Case(("lessons/03",), loop_for_ever),
    "printed": Case(
        ("lessons/03",),
        edit(LOGIN, (GUARD, f'    print("verified", username)\n{GUARD_LESS}'), first=DONE),
    ),
    "hint": Case(("lessons/03", "--hint")),
    "stronger_hint": Case(("lessons/03", "--hint=more"), DONE_BUT_TODO_2),
    "reset": Case(("lessons/03", "--reset"), DONE),
    "hunt": Case(("lessons/03", "--hunt"), hunt),
    "hunt_shown": Case(("lessons/03", "--hunt=show:2"), lambda folder: hunt(folder, "")),
    "unknown_lesson": Case(("lessons/42",)),
    "reference": Case(("lessons/03", "--solutions")),
    "candidate_missing": Case(("lessons/03", "--candidate=nowhere.py")),
    "from_lessons": Case(("03",), DONE, "lessons"),
    "from_the_lesson": Case((), DONE, "lessons/03_login"),
    "two_lessons": Case(("lessons/01", "lessons/03"), DONE),
    "all_lessons": Case(("lessons",), finish("hashing", "tokens")),
}  # fmt: skip


def without_what_is_drawn(printed: str) -> str:
    """Return a screen without what is another in each run: settings, tokens, times."""
    printed = re.sub(r'("(?:jti|stamp|exp|iat)":\s+)"?[\w-]+"?', r"\1...", printed)
    printed = re.sub(r"\b(issuer|audience)-[0-9a-f]{8}", r"\1-...", printed)
    return re.sub(r"\b(expires_in|cost)=\d+", r"\1=...", printed)


def screen(name: str) -> str:
    """Return what a case prints, without what differs from run to run."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        copy_workbook(Path(folder))
        case.change(Path(folder))
        done = run_pytest(*case.command, folder=Path(folder, case.folder))
        printed = (done.stdout + done.stderr).replace(folder, "...")
    # On a busy machine it is said what runs, and pytest begins the line anew.
    printed = re.sub(r"\nstill running: .*\n(?:lessons/\S+\.py )?", "", printed)
    printed = re.sub(r" +(\[ *\d+%\])$", r" \1", printed, flags=re.M)
    printed = re.sub(r"=+ (.*) in [\d.]+s =+", r"=== \1 ===", printed)
    printed = without_what_is_drawn(printed)
    typed = " ".join(("pytest", *case.command))
    return f"{case.folder} $ {typed}\n{printed.rstrip()}\nexit code {done.returncode}\n"


def main() -> int:
    """Write all screens anew; those of cases that are gone, go."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name in CASES:
        (FOLDER / f"{name}.txt").write_text(screen(name), "utf-8")
    print(f"{len(CASES)} screens. Now read: git diff {FOLDER.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
