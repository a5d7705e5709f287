"""Prints the matrix of candidates by test: `python -m tests.matrix`, or `... tests.matrix 03`.

A mistake has to fall to the tests that it names (K). Other tests that fail are marked x, passed
ones with a dot. An alternative has to pass everywhere. A test that kills nothing is listed.

`python -m tests.matrix 03 --only TEXT` judges the mistakes and alternatives with TEXT in the name,
and says which of their tests failed.

`python -m tests.matrix --scores` prints how many of them each lesson judges as it should, as the
READMEs say it. A mistake meets there the tests that it names and those that build.

`python -m tests.matrix --fit`, or `... --fit 03`, runs nothing: it lists each mistake whose old
text no longer fits its file.
"""

import sys
from concurrent.futures import Future
from dataclasses import dataclass

from lessons.harness.catalogue import Lesson, find_lessons
from lessons.harness.grade import Grade
from lessons.harness.verdicts import OPEN, PASSED
from tests.judge import Mistake, begin, find_alternatives, find_mistakes, judge_each

WIDTH = 46


def main(numbers: list[str]) -> int:
    """Print the matrix of the chosen lessons, or of all; return how many rows are wrong."""
    lessons = _choose(numbers)
    running = begin(lessons)
    return sum(_print_lesson(lesson, running) for lesson in lessons)


def only(numbers: list[str], text: str) -> int:
    """Judge what has `text` in its name, and print how it ended; return how many are wrong."""
    wrong = 0
    for lesson in _choose(numbers):
        mistakes = [each for each in find_mistakes(lesson) if each.in_lesson and text in each.name]
        paths = [each for each in find_alternatives(lesson) if text in each.name]
        for each, ended in judge_each(lesson, [*mistakes, *paths]):
            failed = [name for name, verdict in ended.items() if verdict != PASSED]
            named = each.killed_by if isinstance(each, Mistake) else ()
            right = all(ended.get(name) == OPEN for name in named) and bool(named) == bool(failed)
            print(f"{'   ' if right else '!! '}{lesson.number} {each.name}")
            print("\n".join(f"       {ended[name]:<9} {name}" for name in failed), flush=True)
            wrong += not right
    return wrong


@dataclass(frozen=True)
class Score:
    """What one lesson's tests judge as they should."""

    lesson: Lesson
    refused: int
    accepted: int
    kinds: int

    @property
    def row(self) -> str:
        """The lesson's row in the table of README.md."""
        title = f"{self.lesson.number} {self.lesson.slug}"
        return f"| {title} | {self.refused} | {self.accepted} | {self.kinds} |"

    @property
    def sentence(self) -> str:
        """What the lesson's README says."""
        return (
            f"**Judged:** {self.refused} wrong solutions refused, {self.accepted} right ones "
            f"accepted, {self.kinds} kinds of attack."
        )


def aim(lesson: Lesson) -> Score:
    """Return the score of a lesson that judges everything as it should."""
    mistakes = [each for each in find_mistakes(lesson) if each.in_lesson]
    kinds = {each.row for each in mistakes} - {"own"}
    return Score(lesson, len(mistakes), len(find_alternatives(lesson)), len(kinds))


def scores(numbers: list[str]) -> int:
    """Judge everything, and print the scores; return how many lessons miss their aim."""
    lessons = _choose(numbers)
    running = begin(lessons, in_short=lambda _: True)
    missed = 0
    for lesson in lessons:
        mistakes = [each for each in find_mistakes(lesson) if each.in_lesson]
        refused = [
            each
            for each in mistakes
            if all(running[each].result().verdicts.get(name) == OPEN for name in each.killed_by)
        ]
        accepted = [
            path
            for path in find_alternatives(lesson)
            if set(running[path].result().verdicts.values()) == {PASSED}
        ]
        kinds = {each.row for each in refused} - {"own"}
        score = Score(lesson, len(refused), len(accepted), len(kinds))
        print(score.row, flush=True)
        missed += score != aim(lesson)
    return missed


def fit(numbers: list[str]) -> int:
    """Print each change of a mistake that does not fit its file; return how many there are."""
    mistakes = [each for lesson in _choose(numbers) for each in find_mistakes(lesson)]
    misfits = [f"{each.lesson.number} {line}" for each in mistakes for line in each.misfits]
    print("\n".join(misfits) or f"All {len(mistakes)} mistakes fit.")
    return len(misfits)


def _choose(numbers: list[str]) -> list[Lesson]:
    return [each for each in find_lessons() if not numbers or each.number in numbers]


def _print_lesson(lesson: Lesson, running: dict[object, Future[Grade]]) -> int:
    names = list(running[lesson.reference].result().verdicts)
    print(f"\nLesson {lesson.number} {lesson.slug}")
    for index, name in enumerate(names, 1):
        print(f"  {index:>2} {name}")
    columns = " ".join(f"{index:>2}" for index in range(1, len(names) + 1))
    print(f"\n  {'mistakes (K: named test, by a failed assertion)':<{WIDTH + 4}} {columns}")
    wrong, killers = 0, set()
    for mistake in find_mistakes(lesson):
        if mistake not in running:
            continue
        ended = running[mistake].result().verdicts
        killed = all(ended[name] == OPEN for name in mistake.killed_by)
        killers |= {name for name in mistake.killed_by if ended[name] == OPEN}
        marks = [_mark(name in mistake.killed_by, ended[name]) for name in names]
        wrong += _print_row(f"{mistake.row:<4}{mistake.name}", marks, killed)
    elsewhere = [each for each in find_mistakes(lesson) if each not in running]
    print(f"  and {len(elsewhere)} more in what is given, killed by bare pytest")
    print(f"\n  {'alternatives and references (all pass)':<{WIDTH + 4}} {columns}")
    for path in [lesson.reference, *find_alternatives(lesson)]:
        ended = running[path].result().verdicts
        marks = ["." if ended[name] == PASSED else "x" for name in names]
        wrong += _print_row(path.stem, marks, set(ended.values()) == {PASSED})
    for path in (lesson.starter, lesson.naive):
        marks = ["." if running[path].result().verdicts[name] == PASSED else "x" for name in names]
        _print_row(f"({path.name})", marks, True)
    idle = [name for name in names if name not in killers]
    print(f"\n  kills nothing: {', '.join(idle) or 'none'}")
    return wrong


def _mark(named: bool, verdict: str) -> str:
    if named:
        return "K" if verdict == OPEN else "!"
    return "." if verdict == PASSED else "x"


def _print_row(name: str, marks: list[str], right: bool) -> int:
    cells = " ".join(f"{mark:>2}" for mark in marks)
    print(f"  {'   ' if right else '!! '}{name[:WIDTH]:<{WIDTH}}  {cells}")
    return 0 if right else 1


if __name__ == "__main__":
    numbers = [each for each in sys.argv[1:] if each.isdigit()]
    if "--only" in sys.argv:
        wrong = only(numbers, sys.argv[-1])
    elif "--scores" in sys.argv:
        wrong = scores(numbers)
    else:
        wrong = fit(numbers) if "--fit" in sys.argv else main(numbers)
    sys.exit(1 if wrong else 0)
