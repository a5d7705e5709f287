"""The last lines on the terminal: what is done, what is open, and the next step."""

import ast
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from lessons.harness.catalogue import Lesson, find_lessons
from lessons.harness.catalogue import shown as path_of
from lessons.harness.transcript import Transcript
from lessons.harness.verdicts import BROKEN, NOT_BUILT, OPEN, PASSED, worse

WIDTH = 80
PRINTED_LINES = 12
STATUS_OF_ATTACK = {PASSED: "refused", OPEN: "open", NOT_BUILT: "not built", BROKEN: "not built"}
STATUS_OF_BUILDING = {PASSED: "works", OPEN: "wrong", NOT_BUILT: "not built", BROKEN: "not built"}


@dataclass
class Outcome:
    """One named test of a lesson; of its parameters, the worst counts."""

    name: str
    is_attack: bool
    why: str
    todo: tuple[int, str] | None
    line: int
    verdict: str = PASSED
    message: str = ""
    transcript: list[str] = field(default_factory=list)
    called: str | None = None
    printed: str = ""

    def worsen(self, verdict: str, message: str, transcript: Transcript, printed: str) -> None:
        if worse(verdict, self.verdict) != self.verdict:
            self.verdict, self.message, self.printed = verdict, message, printed
            self.transcript, self.called = transcript.lines, transcript.called

    @property
    def is_plain_todo(self) -> bool:
        """Whether nothing happened but that a TODO is open."""
        return self.message.startswith("TODO") and not self.printed.strip()

    @property
    def status(self) -> str:
        return (STATUS_OF_ATTACK if self.is_attack else STATUS_OF_BUILDING)[self.verdict]


def lesson_screen(
    lesson: Lesson, file: Path, shown: str, outcomes: list[Outcome], whose: str
) -> list[str]:
    """Return the lines for one lesson. `whose` is the option that chose the file, or ''."""
    open_tests = [outcome for outcome in outcomes if outcome.verdict != PASSED]
    broken = next((each for each in open_tests if each.verdict == BROKEN), None)
    lines: list[str] = []
    if broken:
        lines += ["", *_wrap(broken.message, "")]
    elif open_tests:
        in_full = [outcome for outcome in open_tests if not outcome.is_plain_todo]
        if whose != "naive":
            in_full = in_full[:1]
        for outcome in in_full:
            lines += _in_full(outcome, lesson, with_why=whose == "naive")
        if others := [outcome for outcome in open_tests if outcome not in in_full]:
            lines += ["", *(f"{outcome.status:<11}{outcome.name}" for outcome in others)]
    lines += ["", *_headline(lesson, outcomes)]
    if whose == "naive":
        lines += _wrap(
            "This was naive.py, errors of many tutorials in one file. Now refuse all that in "
            f"{path_of(lesson.starter)}: pytest lessons/{lesson.number}",
            "next   ",
        )
    elif broken:
        lines += _wrap(_mend(lesson, shown, broken.message), "next   ")
    elif open_tests:
        todos = {outcome.todo[1] for outcome in outcomes if outcome.todo}
        lines += _next_step(lesson, file, shown, (in_full or open_tests)[0], todos)
    elif len(outcomes) < _count_tests(lesson):
        lines += [f"next   pytest lessons/{lesson.number} for all tests of the lesson"]
    else:
        lines += _all_done(lesson, whose)
    return lines


def progress_table(lessons: dict[Lesson, list[Outcome]], whose: str) -> list[str]:
    """Return one line for each of several lessons, and the next command."""
    lines = [""]
    for lesson, outcomes in lessons.items():
        verdicts = {outcome.name: outcome.verdict for outcome in outcomes}
        attacks = {outcome.name: outcome.is_attack for outcome in outcomes}
        lines.append(progress_line(lesson, verdicts, attacks))
    unfinished = [line[:2] for line in lines if line and not line.endswith("  done")]
    if unfinished:
        option = f" --{whose}" if whose in ("mine", "solutions") else ""
        lines += ["", f"next   pytest lessons/{unfinished[0]}{option}"]
    elif not whose:
        lines += ["", "next   pytest lessons --mine"]
    elif whose == "mine":
        lines += ["", "done   your whole system: each lesson on top of your own earlier ones"]
    return lines


def progress_line(lesson: Lesson, verdicts: dict[str, str], attacks: dict[str, bool]) -> str:
    """Return a lesson's tests and attacks in one line, with its state at the end."""
    done = [name for name, verdict in verdicts.items() if verdict == PASSED]
    refused = sum(attacks[name] for name in done)
    if len(done) == len(verdicts):
        state = "done"
    else:
        state = "under way" if {PASSED, OPEN} & set(verdicts.values()) else "not begun"
    bar = "#" * len(done) + "." * (len(verdicts) - len(done))
    return (
        f"{lesson.number} {lesson.slug:<9} {len(done):>2} of {len(verdicts):<2} "
        f"{f'[{bar}]':<17}  attacks refused: {refused:>2} of {sum(attacks.values()):<2}  {state}"
    )


def _headline(lesson: Lesson, outcomes: list[Outcome]) -> list[str]:
    done = sum(outcome.verdict == PASSED for outcome in outcomes)
    attacks = [outcome.status for outcome in outcomes if outcome.is_attack]
    counts = ", ".join(
        f"{attacks.count(status)} {status}"
        for status in ("refused", "open", "not built")
        if status in attacks
    )
    bar = "#" * done + "." * (len(outcomes) - done)
    line = f"Lesson {lesson.number} {lesson.slug}   {done} of {len(outcomes)}   [{bar}]"
    counts = f"attacks: {counts or 'none'}"
    both = f"{line}   {counts}"
    return [both] if len(both) <= WIDTH else [line, counts]


def _in_full(outcome: Outcome, lesson: Lesson, with_why: bool) -> list[str]:
    printed = [
        part
        for line in outcome.printed.rstrip().splitlines()
        for part in textwrap.wrap(ascii(line)[1:-1], WIDTH - 6) or [""]
    ][-PRINTED_LINES:]
    kind = "attack" if outcome.is_attack else "build"
    lines = ["", f"--- {outcome.name} ({kind}: {outcome.status}) ".ljust(WIDTH, "-")]
    if with_why:
        lines += [*_wrap(outcome.why, ""), ""]
    lines += ["    " + line for line in outcome.transcript]
    lines += _wrap(outcome.message, ">   ")
    lines += [f"    {path_of(lesson.tests)}:{outcome.line}"]
    if printed:
        lines += ["    printed:", *(f"    | {line}" for line in printed)]
    return lines


def _next_step(
    lesson: Lesson, file: Path, shown: str, outcome: Outcome, names: set[str]
) -> list[str]:
    lines = [f"next   {outcome.name}", *_wrap(outcome.why, "why    ")]
    if outcome.todo is None:
        return lines
    number, function = outcome.todo
    functions, todos = find_functions(file)
    if raised := re.search(r"\bTODO (\d+):", outcome.message):
        number = int(raised[1])
    else:
        function = _culprit(outcome, shown, functions, names) or function
    if earlier := [todo for todo in todos if todo <= number]:
        number, function = min(earlier), todos[min(earlier)]
    where = f"{shown}:{functions[function]}, {function}" if function in functions else shown
    lines += [f"do     {f'TODO {number} in' if earlier else 'mend'} {where}"]
    if heading := find_heading(lesson, function):
        lines += _wrap(f'{path_of(lesson.readme)}, "{heading}"', "read   ")
    return lines


def _mend(lesson: Lesson, shown: str, message: str) -> str:
    """Return what to do about a module that cannot be loaded or called."""
    if earlier := re.search(r"lessons/(\d\d)_\S+ is not done yet", message):
        return f"pytest lessons/{earlier[1]}"
    if shown.startswith("solutions/"):
        return "ask whoever gave you this copy"
    if message.startswith("There is no"):
        return f"git checkout lessons/{lesson.folder.name}, or ask whoever gave you this copy"
    return f"mend {shown}, then run pytest lessons/{lesson.number} again"


def _culprit(
    outcome: Outcome, shown: str, functions: dict[str, int], todos: set[str]
) -> str | None:
    """Return the TODO's function that the message speaks of, or that was called last.

    A given function that crashes was mostly given something wrong by the learner's.
    """
    if at := re.search(rf"\({re.escape(shown)}:(\d+)\)", outcome.message):
        above = {name: line for name, line in functions.items() if line <= int(at[1])}
        crashed = max(above, key=above.__getitem__, default=None)
        return crashed if crashed in todos else None
    # "refresh" alone is a word, "refresh()" and "spend_refresh_token" are names.
    words = re.findall(r"\w+_\w+|\w+(?=\(|`)", outcome.message)
    if named := [word for word in words if word in todos]:
        return named[0]
    last_call_counts = outcome.verdict == NOT_BUILT or not outcome.is_attack
    return outcome.called if last_call_counts and outcome.called in todos else None


def _all_done(lesson: Lesson, whose: str) -> list[str]:
    if whose == "mine":
        return ["done   green on top of your own earlier lessons"]
    if whose:
        return []
    following = next((each for each in find_lessons() if each.number > lesson.number), None)
    command = f"pytest lessons/{following.number}" if following else "pytest lessons --mine"
    compare = [f"look   at {path_of(lesson.reference)}, the reference"]
    start = [f"start  uvicorn lessons.{lesson.folder.name}.{lesson.slug}:app --reload"]
    # In a copy without references the app lacks the earlier steps.
    below = [each.reference for each in find_lessons() if each.number < lesson.number]
    return [
        *_wrap(_achievement(lesson), "done   "),
        *(compare if lesson.reference.exists() else []),
        *(start if all(path.exists() for path in below) else []),
        f'read   {path_of(lesson.readme)}, "What the tutorials get wrong"',
        f"next   {command}",
    ]


def _achievement(lesson: Lesson) -> str:
    found = re.search(r"^> \*\*Done:\*\* ((?:.+\n)+)", lesson.readme.read_text("utf-8"), re.M)
    words = (
        found[1].replace("\n> ", " ").split() if found else ["Every", "attack", "is", "refused."]
    )
    return " ".join(words)


def _count_tests(lesson: Lesson) -> int:
    return len(re.findall(r"^def test_", lesson.tests.read_text("utf-8"), re.M))


def find_functions(file: Path) -> tuple[dict[str, int], dict[int, str]]:
    """Return the line of each function in a module, and the functions whose TODO is open.

    A name that the module defines, like `CurrentUser`, counts too: a TODO may be a declaration.
    """
    lines, todos = {}, {}
    tree = ast.parse(file.read_bytes())
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            lines[node.targets[0].id] = node.lineno
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines[node.name] = node.lineno
            if found := re.search(r"raise NotImplementedError\(.TODO (\d+)", ast.unparse(node)):
                todos[int(found[1])] = node.name
    return lines, todos


def find_heading(lesson: Lesson, function: str) -> str | None:
    """Return the heading of the README's section that gives a function, in backquotes, its TODO."""
    heading = None
    for line in lesson.readme.read_text("utf-8").splitlines() if lesson.readme.exists() else []:
        if line.startswith("## "):
            heading = line[3:] if line.startswith("## TODO") else None
        elif heading and f"`{function}" in line:
            return heading
    return None


def colours_of(line: str) -> dict[str, bool]:
    """Return the markup of a line, for terminals that have colours; the words alone say all."""
    if line.startswith("--- ") or line.startswith(">   "):
        return {"red": True}
    if re.match(r"(Lesson )?\d\d \w+ ", line):
        finished = line.endswith("  done") or re.search(r" (\d+) of \1 .*(?<!open)$", line)
        return {"green" if finished else "yellow": True, "bold": True}
    if line.startswith(("next ", "do ", "done ")):
        return {"bold": True}
    return {}


def _wrap(text: str, label: str) -> list[str]:
    text = text.encode("ascii", "backslashreplace").decode()
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_on_hyphens=False,
    )
