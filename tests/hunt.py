"""`pytest lessons/03 --hunt`: the learner's attacks, tried on right solutions, then on wrong ones.

The learner writes tests in `lessons/03_login/hunt.py`. One that does not accept the reference and
each alternative is shown with what it refused, and counts no more. The others are sent against the
known mistakes, each until the first of them fails.
"""

import ast
import difflib
import re
import tempfile
import textwrap
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lessons.harness.catalogue import Lesson, shown
from lessons.harness.encoding import fault_of
from lessons.harness.grade import Grade
from lessons.harness.verdicts import PASSED
from tests.judge import (
    CORES,
    TESTS,
    Mistake,
    benches,
    find_alternatives,
    find_mistakes,
    named_tests,
)

GOOD, NOT_GOOD, STOPPED = 0, 1, 2  # exit codes
WIDTH = 80
TO_FIND = 20  # seconds for the tests to be found
FOR_ONE = 30  # for one solution
FOR_ALL = 120  # for all wrong ones
ENDLESS = "It did not come to an end. Is there a loop without a way out?"
SCREEN = 24  # lines of a wrong solution
FAMILIES = TESTS / "mistakes" / "families.toml"


class NoHunt(Exception):
    """There is nothing to hunt with; the message says why, and what to do."""


@dataclass(frozen=True)
class Refusal:
    """A test that refuses right code: which, and what it says."""

    test: str
    line: int
    message: str


def hunt(lesson: Lesson, show: int = 0) -> int:
    """Print what the learner's attacks catch, or the wrong solution number `show` that they miss.

    Return 0 when they accept what is right, 1 when not, 2 after Ctrl-C.
    """
    try:
        return _hunt(lesson, show)
    except NoHunt as reason:
        _say(*_wrapped(str(reason)))
        return NOT_GOOD
    except (AssertionError, OSError) as error:  # nobody is there any more who judges
        _say(*_wrapped(f"The hunt broke off ({error}). See pytest {shown(lesson.hunt)}"))
        return NOT_GOOD
    except KeyboardInterrupt:
        _say("Stopped.")
        return STOPPED
    finally:
        benches.close()


def _hunt(lesson: Lesson, show: int) -> int:
    attacks, notes = find_attacks(lesson)
    wrong = [each for each in find_mistakes(lesson) if each.in_lesson]
    texts = [_text_of(each) for each in wrong]
    right = [lesson.reference, *find_alternatives(lesson)]
    _say(f"Lesson {lesson.number} {lesson.slug}   the hunt: {len(right)} right solutions first")
    for note in notes:
        _say(*_wrapped(note, "note   "))
    refused = dict(refusals(lesson, right, attacks))
    for file, each in refused.values():
        _say("", *_shown_refusal(lesson, file, each))
    if refused:
        _say("")
    good = [name for name in attacks if name not in refused]
    if not good:
        _say(*_wrapped("So no attack of yours is sent against the wrong ones: mend it first."))
        return NOT_GOOD
    caught = [*catches(lesson, texts, good)]
    missed = [each for each, is_caught in zip(wrong, caught, strict=True) if is_caught is False]
    _say(*_wrapped(_count(good, caught)))
    if (late := caught.count(None)) > 0:
        _say(*_wrapped(f"{late} more were not tried: {FOR_ALL} seconds are over.", "note   "))
    _say(*(_shown_mistake(missed, show) if show else _shown_families(lesson, missed)))
    return NOT_GOOD if refused else GOOD


# --- the attacks ----------------------------------------------------------------------------


def find_attacks(lesson: Lesson) -> tuple[list[str], list[str]]:
    """Return the names of the tests in a lesson's hunt.py, and what is odd there."""
    where, again = shown(lesson.hunt), f"then again: pytest lessons/{lesson.number} --hunt"
    if not lesson.hunt.is_file():
        back = f"cp {shown(lesson.kept_hunt)} {shown(lesson.folder)}/hunt.py"
        raise NoHunt(f"There is no {where}. Bring the example back: {back}")
    if fault := fault_of(lesson.hunt.read_bytes()):
        raise NoHunt(f"{where} {fault}")
    try:
        tree = ast.parse(lesson.hunt.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        said = error.msg if isinstance(error, SyntaxError) else error
        raise NoHunt(f"{where}{line} does not parse: {said}. Mend that, {again}") from None
    try:
        found = benches.find(lesson.hunt, TO_FIND)
    except TimeoutError:
        raise NoHunt(
            f"{where} did not come to an end when it was imported. Mend that, {again}"
        ) from None
    if found.errors:
        raise NoHunt(f"{where}{_error_on_import(found.errors[0])} Mend that, {again}")
    if not found.ended_well:
        raise NoHunt(f"{where} ended pytest when it was imported. Mend that, {again}")
    if not found.tests:
        other = next(_never_run(tree), "")
        example = f" Give {other} such a name," if other else " Write one,"
        raise NoHunt(f"{where} has no test: its name begins with test_.{example} {again}")
    notes = [f"{name} is never run: a test's name begins with test_." for name in _never_run(tree)]
    notes += [
        f"{node.name} is never run: the name of a class of tests begins with Test."
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("Test")
        if any(isinstance(each, ast.FunctionDef) and each.name[:4] == "test" for each in node.body)
    ]
    twice = Counter(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    notes += [
        f"{name} is there {twice[name]} times, and the last one counts."
        for name in found.tests
        if twice[name] > 1
    ]
    return list(found.tests), notes


def _error_on_import(said: str) -> str:
    line = re.search(r"hunt\.py(:\d+)", said)
    told = re.findall(r"^E +(\S.*)", said, re.M) or [said.strip().splitlines()[-1]]
    return f"{line[1] if line else ''} fails on import: {told[0].rstrip('.')}."


def _never_run(tree: ast.Module) -> Iterator[str]:
    """Yield the functions that are no tests, no fixtures, and are used nowhere."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_fixture = "fixture" in " ".join(map(ast.unparse, node.decorator_list))
        if not (is_fixture or node.name in used or node.name.startswith("test")):
            yield node.name


# --- right solutions ------------------------------------------------------------------------


def refusals(
    lesson: Lesson, right: Sequence[Path], attacks: Sequence[str]
) -> Iterator[tuple[str, tuple[Path, Refusal]]]:
    """Yield each test that refuses a right solution, with the first that it refuses.

    What refuses the reference, the first, does not meet the others.
    """
    reference, *others = right
    refused = {each.test: (reference, each) for each in _refusals(lesson, reference, attacks)}
    left = [name for name in attacks if name not in refused]
    with ThreadPoolExecutor(CORES) as pool:
        of_others = pool.map(lambda file: _refusals(lesson, file, left), others)
        for file, found in zip(others, of_others, strict=True):
            for each in found:
                refused.setdefault(each.test, (file, each))
    yield from ((name, refused[name]) for name in attacks if name in refused)


def _refusals(lesson: Lesson, file: Path, attacks: Sequence[str]) -> list[Refusal]:
    found, left = [], list(attacks)
    while left:
        grade = _grade(lesson, file.name, file.read_text("utf-8"), left)
        for name in left:
            if name == grade.unfinished:
                found.append(Refusal(name, 0, ENDLESS if "end" in grade.sentence else "It ends."))
            elif grade.verdicts.get(name, PASSED) != PASSED:
                found.append(_refusal(name, grade))
        over = {grade.unfinished, *grade.verdicts}
        if not over & {*left}:
            raise NoHunt(f"Nothing came of {left[0]} on {shown(file)}. {grade.sentence}")
        left = [name for name in left if name not in over]  # an endless test hides those below
    return found


def _grade(lesson: Lesson, name: str, text: str, attacks: Sequence[str], enough: int = 0) -> Grade:
    """Return how attacks end on a solution, right or wrong: where it lies says nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(text, "utf-8")
        grade = benches.judge(lesson.hunt, file, attacks, enough, FOR_ONE)
    grade.sentence = grade.sentence.replace(f"{folder}/", "")
    for test, said in grade.failures.items():
        grade.failures[test] = said.replace(f"{folder}/", "")
    return grade


def _refusal(name: str, grade: Grade) -> Refusal:
    said = {test: grade.failures[test] for test in grade.failures if _function(test) == name}
    lines = {test: grade.lines[test] for test in grade.lines if _function(test) == name}
    message = next(iter(said.values()), grade.sentence)
    return Refusal(name, next(iter(lines.values()), 0), _plain(message))


def _function(test: str) -> str:
    return test.partition("[")[0]


def _plain(message: str) -> str:
    if "did not come to an end" in message:
        return ENDLESS
    if name := re.match(r"FixtureLookupError: \(?'(\w+)'", message):
        return f"There is no fixture {name[1]}. lessons/conftest.py has those of the lessons."
    return message or "It fails, and says nothing."


def _shown_refusal(lesson: Lesson, file: Path, refusal: Refusal) -> list[str]:
    where = f" ({lesson.hunt.name}:{refusal.line})" if refusal.line else ""
    return [
        *_wrapped(f"{refusal.test}{where} refuses right code", "wrong  "),
        *_wrapped(shown(file), "on     "),
        *_wrapped(refusal.message, "says   "),
    ]


# --- wrong ones -----------------------------------------------------------------------------


def _text_of(mistake: Mistake) -> str:
    try:
        return mistake.text
    except ValueError:
        raise NoHunt(
            f"{shown(mistake.file)} is not as it was, and the wrong solutions are made of it. "
            f"Bring it back: git checkout {shown(mistake.file)}"
        ) from None


def catches(lesson: Lesson, texts: Sequence[str], attacks: Sequence[str]) -> Iterator[bool | None]:
    """Yield for each wrong solution whether an attack fails on it; None if time was over."""
    end = time.monotonic() + FOR_ALL

    def is_caught(text: str) -> bool | None:
        if time.monotonic() > end:
            return None
        grade = _grade(lesson, lesson.reference.name, text, attacks, enough=1)
        return {grade.verdicts.get(name) for name in attacks} != {PASSED}

    pool = ThreadPoolExecutor(CORES)
    try:
        yield from pool.map(is_caught, texts)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _count(attacks: Sequence[str], caught: Sequence[bool | None]) -> str:
    tried = len(caught) - caught.count(None)
    one = len(attacks) == 1
    who = "your attack catches" if one else f"your {len(attacks)} attacks catch"
    return f"{who} {caught.count(True)} of {tried} wrong solutions"


@cache
def families(lesson: Lesson) -> dict[str, str]:
    """Return in a few words what the mistakes do that a test of the lesson kills first."""
    known: dict[str, dict[str, str]] = tomllib.loads(FAMILIES.read_text("utf-8"))
    return known[lesson.folder.name]


def family_of(mistake: Mistake) -> str:
    """Return in a few words what a mistake does."""
    return families(mistake.lesson)[mistake.killed_by[0]]


def _shown_families(lesson: Lesson, missed: Sequence[Mistake]) -> list[str]:
    counts = Counter(map(family_of, missed))
    lines = [f"{count:>5}  {family}" for family, count in counts.most_common()]
    every = [each for each in find_mistakes(lesson) if each.in_lesson]
    command = f"pytest lessons/{lesson.number} --hunt=show"
    return [
        *(["", "These get past you:", *lines] if missed else []),
        "",
        f"The lesson's {len(named_tests(lesson))} tests catch {len(every)} of {len(every)}.",
        *(
            _wrapped(f"{command} shows one that gets past you", "next   ")
            if missed
            else _wrapped("Nothing gets past you.", "done   ")
        ),
    ]


def _shown_mistake(missed: Sequence[Mistake], number: int) -> list[str]:
    if not missed:
        return _wrapped("Nothing gets past you.", "done   ")
    if number > len(missed):
        return _wrapped(f"{len(missed)} get past you: --hunt=show:{len(missed)} is the last.")
    mistake = missed[number - 1]
    other = number % len(missed) + 1
    what = f"{number} of {len(missed)} that get past you: {family_of(mistake)}"
    next_step = f"Write an attack in {shown(mistake.lesson.hunt)} that fails on it."
    if len(missed) > 1:
        next_step += f" Another one: --hunt=show:{other}"
    return [
        "",
        *_wrapped(what, "shown  "),
        *_wrapped(mistake.name, "name   "),
        "",
        *diff(mistake),
        "",
        *_wrapped(next_step, "next   "),
    ]


def diff(mistake: Mistake) -> list[str]:
    """Return what a mistake changes in the reference, on one screen."""
    before = mistake.file.read_text("utf-8").splitlines()
    after = mistake.text.splitlines()
    names = (shown(mistake.file), "a wrong solution")
    for context in (3, 2, 1, 0):
        lines = list(difflib.unified_diff(before, after, *names, n=context, lineterm=""))
        if len(lines) <= SCREEN:
            break
    return [part for line in lines for part in _folded(line)]


def _folded(line: str) -> list[str]:
    """Fold a line of code that is too long for the terminal; each part has the line's sign."""
    sign, code = line[:1], line[1:].encode("ascii", "backslashreplace").decode()
    indent = " " * (len(code) - len(code.lstrip()))
    parts = textwrap.wrap(
        code.strip(),
        WIDTH - 1,
        initial_indent=indent,
        subsequent_indent=f"{indent}        ",
        break_on_hyphens=False,
    )
    return [f"{sign}{part}" for part in parts] or [sign.rstrip()]


# --- the screen -----------------------------------------------------------------------------


def _wrapped(text: str, label: str = "") -> list[str]:
    plain = text.encode("ascii", "backslashreplace").decode()
    return textwrap.wrap(
        plain,
        WIDTH,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_on_hyphens=False,
    )


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)
