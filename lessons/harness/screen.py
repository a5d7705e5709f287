"""The last lines on the terminal: what is done, what is open, and the next step."""

import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lessons.harness.candidate import Candidate
from lessons.harness.catalogue import Lesson, find_lessons
from lessons.harness.catalogue import shown as path_of
from lessons.harness.composite import Todo, find_todos
from lessons.harness.signs import find_hint
from lessons.harness.slips import slips
from lessons.harness.transcript import Transcript
from lessons.harness.verdicts import BROKEN, OPEN, PASSED, WAITS, WRONG, worse

WIDTH = 80
PRINTED_LINES = 12
STATUS_OF_ATTACK = {PASSED: "refused", WAITS: "waiting", OPEN: "open", BROKEN: "not run"}
STATUS_OF_BUILDING = {PASSED: "works", WAITS: "waiting", BROKEN: "not run"}
OTHERWISE = "wrong"


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
    refusal: str = ""  # where the answer that the message is about was raised
    printed: str = ""
    item: pytest.Function | None = None  # the worst one, to run it again
    waits_for: set[int] = field(default_factory=set)  # the numbers of TODOs
    failures: dict[str, str] = field(default_factory=dict)  # what each row said that failed
    at_fault: list[str] | None = None  # parts whose repair is enough; None where nobody tried
    suspects: list[str] = field(default_factory=list)  # where nobody could try: one is at fault
    ran: set[str] = field(default_factory=set)  # the noted parts that it came through

    def worsen(
        self,
        verdict: str,
        item: pytest.Function,
        message: str,
        transcript: Transcript,
        printed: str,
    ) -> None:
        if worse(verdict, self.verdict) != self.verdict:
            self.verdict, self.item, self.message, self.printed = verdict, item, message, printed
            self.ran = set()
            self.transcript = transcript.lines
            self.refusal = transcript.refusal if _is_about(transcript.refusal, message) else ""

    @property
    def status(self) -> str:
        statuses = STATUS_OF_ATTACK if self.is_attack else STATUS_OF_BUILDING
        return statuses.get(self.verdict, OTHERWISE)

    @property
    def is_wrong(self) -> bool:
        """Whether what the learner has written failed."""
        return self.verdict in (OPEN, WRONG)


def _is_about(refusal: str, message: str) -> bool:
    """Tell whether a message complains of the refusal, "the 401 was ...", by its status."""
    status = refusal.removeprefix("the ")[:3]
    return bool(refusal and re.search(rf"(?<!not ){status}\b", message))


def lesson_screen(
    lesson: Lesson,
    candidate: Candidate,
    outcomes: list[Outcome],
    whose: str,
    doubtful: Sequence[Lesson] = (),
) -> list[str]:
    """Return the lines for one lesson. `whose` is the option that chose the file, or ''.

    In `doubtful` are earlier lessons which it uses and which may be at fault.
    """
    open_tests = [outcome for outcome in outcomes if outcome.verdict != PASSED]
    broken = next((each for each in open_tests if each.verdict == BROKEN), None)
    wrong = [outcome for outcome in open_tests if outcome.is_wrong]
    in_full = wrong if whose == "naive" else (wrong or sorted(_printing(open_tests), key=_turn))[:1]
    lines: list[str] = []
    if broken:
        lines += ["", *_wrap(broken.message, "")]
    elif open_tests:
        for outcome in in_full:
            lines += _in_full(outcome, lesson, with_why=whose == "naive")
        if others := [outcome for outcome in open_tests if outcome not in in_full]:
            lines += ["", *_in_short(others)]
    lines += ["", *_headline(lesson, outcomes)]
    if whose not in ("naive", "solutions") and not broken:
        lines += _states_of_todos(lesson, candidate, outcomes)
    if broken:
        lines += _wrap(_mend(lesson, candidate.shown, broken.message), "next   ")
    elif whose == "naive":
        lines += _wrap(
            "This was naive.py, errors of many tutorials in one file. Now refuse all that in "
            f"{path_of(lesson.starter)}: pytest lessons/{lesson.number}",
            "next   ",
        )
    elif wrong:
        lines += _next_repair(lesson, candidate, wrong[0], doubtful)
        if hint := find_hint(lesson, {k: v for each in wrong for k, v in each.failures.items()}):
            lines += _wrap(f"like this: {hint}", "looks  ")
    elif open_tests:
        lines += _next_todo(lesson, candidate, open_tests)
    elif len(outcomes) < _count_tests(lesson):
        lines += [f"next   pytest lessons/{lesson.number} for all tests of the lesson"]
    else:
        lines += _all_done(lesson, whose)
    return lines


def _printing(waiting: list[Outcome]) -> list[Outcome]:
    return [outcome for outcome in waiting if outcome.printed.strip()]


def _turn(outcome: Outcome) -> int:
    """Return the first TODO that a test waits for."""
    return min(outcome.waits_for, default=99)


def _in_short(outcomes: list[Outcome]) -> list[str]:
    states = [
        f"waits for TODO {', '.join(map(str, sorted(each.waits_for)))}"
        if each.verdict == WAITS
        else each.status
        for each in outcomes
    ]
    width = max(map(len, states))
    return [f"{state:<{width}}  {each.name}" for state, each in zip(states, outcomes, strict=True)]


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
    elif not whose and any(lesson.reference.exists() for lesson in lessons):
        lines += ["", "next   pytest lessons --mine"]
    elif whose in ("", "mine"):
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
        f"{lesson.number} {lesson.slug:<12} {len(done):>2} of {len(verdicts):<2} "
        f"{f'[{bar}]':<17}  attacks refused: {refused:>2} of {sum(attacks.values()):<2}  {state}"
    )


def _headline(lesson: Lesson, outcomes: list[Outcome]) -> list[str]:
    done = sum(outcome.verdict == PASSED for outcome in outcomes)
    attacks = [outcome.status for outcome in outcomes if outcome.is_attack]
    counts = ", ".join(
        f"{attacks.count(status)} {status}"
        for status in ("refused", "open", "wrong", "waiting", "not run")
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
        for part in textwrap.wrap(_printable(line), WIDTH - 6) or [""]
    ][-PRINTED_LINES:]
    kind = "attack" if outcome.is_attack else "build"
    lines = ["", f"--- {outcome.name} ({kind}: {outcome.status}) ".ljust(WIDTH, "-")]
    if with_why:
        lines += [*_wrap(outcome.why, ""), ""]
    lines += ["    " + line for line in outcome.transcript]
    lines += _wrap(outcome.message, ">   ")
    lines += _wrap(outcome.refusal, "    ")
    lines += [f"    {path_of(lesson.tests)}:{outcome.line}"]
    if printed:
        lines += ["    printed:", *(f"    | {line}" for line in printed)]
    return lines


def _printable(line: str) -> str:
    """Return what the learner printed, with escapes for what the terminal cannot show."""
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    encoding = sys.stdout.encoding or "ascii"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _states_of_todos(lesson: Lesson, candidate: Candidate, outcomes: list[Outcome]) -> list[str]:
    """Say of each TODO: to write, written, right, wrong, or not sure. In two lines, if need be."""
    wrong = [each for each in outcomes if each.is_wrong]
    at_fault = {name for each in wrong for name in each.at_fault or ()}
    suspected = {name for each in wrong for name in each.suspects}
    unexplained = any(not each.at_fault for each in wrong)
    states = []
    for todo in find_todos(lesson):
        if todo in candidate.todos_to_write:
            state = "to write"
        elif todo.name in at_fault:
            state = "wrong"
        elif candidate.reference is None:
            untested = "written" if not _all_ran(todo, lesson, outcomes) else "right"
            state = "not sure" if todo.name in suspected else untested
        else:
            state = "not sure" if unexplained else "right"
        states.append(f"TODO {todo.number} {state}")
    half = len(states) if len("   ".join(states)) <= WIDTH else (len(states) + 1) // 2
    return ["   ".join(part) for part in (states[:half], states[half:]) if part]


def _all_ran(todo: Todo, lesson: Lesson, outcomes: list[Outcome]) -> bool:
    """Tell whether all tests of a lesson ran, and those of this TODO passed. None waits for more.

    Without a reference that is all there is to go by.
    """
    own = [each for each in outcomes if each.todo == (todo.number, todo.name)]
    waiting = any(each.verdict == WAITS for each in outcomes)
    is_whole = len(outcomes) == _count_tests(lesson) and not waiting
    return is_whole and all(each.verdict == PASSED for each in own)


def _next_todo(lesson: Lesson, candidate: Candidate, waiting: list[Outcome]) -> list[str]:
    """Return what to write next, and the first test that waits for it."""
    outcome = min(waiting, key=_turn)
    # Without a reference only the TODO that was reached is known: those before it come first.
    to_write = [each.number for each in candidate.todos_to_write]
    number = min([*to_write, *outcome.waits_for], default=0)
    lines = [f"next   {outcome.name}", *_wrap(outcome.why, "why    ")]
    name = next((todo.name for todo in find_todos(lesson) if todo.number == number), None)
    where = candidate.shown
    if name and candidate.module and (line := candidate.module.line_of(name)):
        where += f":{line}, {name}"
    lines.append(f"do     TODO {number} in {where}")
    return [*lines, *_questions(candidate), *_section(lesson, name)]


def _questions(candidate: Candidate) -> list[str]:
    """Return what seems to be forgotten in the written parts, where no reference can judge them."""
    if candidate.module is None or candidate.reference is not None:
        return []
    written = [todo.name for todo in find_todos(candidate.lesson)]
    written = [name for name in written if name in candidate.suspects]
    return [
        line
        for name in written
        for slip in slips(candidate.module.parts[name], candidate.names)
        for line in _wrap(f"({name}: {slip})", "       ")
    ]


def _section(lesson: Lesson, name: str | None) -> list[str]:
    heading = find_heading(lesson, name) if name else None
    return _wrap(f'{path_of(lesson.readme)}, "{heading}"', "read   ") if heading else []


def _next_repair(
    lesson: Lesson, candidate: Candidate, outcome: Outcome, doubtful: Sequence[Lesson]
) -> list[str]:
    """Return which part to mend: the one whose repair lets the test pass."""
    lines = [f"next   {outcome.name}", *_wrap(outcome.why, "why    ")]
    module, shown = candidate.module, candidate.shown
    if outcome.at_fault is None:
        names, verbs = outcome.suspects, ("look at", "or at")
    else:
        names, verbs = outcome.at_fault, ("fix", "and fix")
    places = [name for name in names if module and module.line_of(name)]
    if not places or module is None:
        unknown = "" if outcome.at_fault is None else ". No function alone is at fault."
        lines += _wrap(f"{verbs[0]} {shown}{unknown}", "do     ")
        return [*lines, *_or_earlier(doubtful)]
    todos = {todo.name for todo in find_todos(lesson)}
    for name in places:
        given = "" if name in todos else ", which was given"
        verb, label = (verbs[0], "do     ") if name == places[0] else (verbs[1], "       ")
        lines += _wrap(f"{verb} {shown}:{module.line_of(name)}, {name}{given}", label)
        for slip in slips(module.parts[name], candidate.names):
            lines += _wrap(slip, "       ")
    return [*lines, *_or_earlier(doubtful), *_section(lesson, places[0])]


def _or_earlier(doubtful: Sequence[Lesson]) -> list[str]:
    """Return the line that names the earlier lessons which have not shown to be right."""
    if not doubtful:
        return []
    *others, last = [each.number for each in doubtful]
    numbers = f"{', '.join(others)} and {last}" if others else last
    if len(doubtful) == 1:
        where = f"lesson {numbers}, which has not been green as it is now: pytest lessons/{numbers}"
    else:
        where = f"lessons {numbers}, which have not been green as they are now: pytest lessons"
    return _wrap(f"(or in {where})", "       ")


def _mend(lesson: Lesson, shown: str, message: str) -> str:
    """Return what to do about a module that cannot be loaded or called."""
    if earlier := re.search(r"lessons/(\d\d)_\S+ is not done yet", message):
        return f"pytest lessons/{earlier[1]}"
    if shown.startswith("solutions/"):
        return "ask whoever gave you this copy"
    if message.startswith("There is no"):
        absent = re.search(r"lessons/(\d\d)_", message)
        return f"pytest lessons/{absent[1] if absent else lesson.number} --reset"
    earlier = re.match(r"lessons/\d\d_\w+/\w+\.py", message)
    file = earlier[0] if earlier else shown
    return f"mend {file}, then run pytest lessons/{lesson.number} again"


def _all_done(lesson: Lesson, whose: str) -> list[str]:
    if whose == "mine":
        return ["done   green on top of your own earlier lessons"]
    if whose:
        return []
    following = next((each for each in find_lessons() if each.number > lesson.number), None)
    all_together = "pytest lessons --mine" if lesson.reference.exists() else "pytest lessons"
    command = f"pytest lessons/{following.number}" if following else all_together
    compare = [f"look   at {path_of(lesson.reference)}, the reference"]
    return [
        *_wrap(_achievement(lesson), "done   "),
        *(compare if lesson.reference.exists() else []),
        f"start  {start_of(lesson)}",
        f'read   {path_of(lesson.readme)}, "What the tutorials get wrong"',
        f"next   {command}",
    ]


def start_of(lesson: Lesson) -> str:
    """Return the command that starts the app, with the options that the README has for it."""
    command = f"uvicorn lessons.{lesson.folder.name}.{lesson.slug}:app --reload"
    text = lesson.readme.read_text("utf-8") if lesson.readme.exists() else ""
    found = re.search(rf"^{re.escape(command)}.*$", text, re.M)
    return found[0].rstrip() if found else command


def _achievement(lesson: Lesson) -> str:
    found = re.search(r"^> \*\*Done:\*\* ((?:.+\n)+)", lesson.readme.read_text("utf-8"), re.M)
    words = (
        found[1].replace("\n> ", " ").split() if found else ["Every", "attack", "is", "refused."]
    )
    return " ".join(words)


def is_green(lesson: Lesson, outcomes: Sequence[Outcome]) -> bool:
    """Tell whether all tests of a lesson ran and passed."""
    passed = [each for each in outcomes if each.verdict == PASSED]
    return len(passed) == _count_tests(lesson)


def _count_tests(lesson: Lesson) -> int:
    return len(re.findall(r"^def test_", lesson.tests.read_text("utf-8"), re.M))


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
