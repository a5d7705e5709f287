"""Writes ASVS.md, which says what of OWASP ASVS 5.0 the tests check: `python -m tests.asvs`.

The requirements, in our own words, are in `tests/asvs.toml`. A test says by the marker `asvs` which
of them it checks; the markers are read and not run.
"""

import ast
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lessons.harness.catalogue import ROOT, find_lessons

PATH = ROOT / "ASVS.md"
REQUIREMENTS = Path(__file__).with_name("asvs.toml")
CHAPTERS = {
    6: "Authentication",
    7: "Session Management",
    8: "Authorization",
    9: "Self-contained Tokens",
    10: "OAuth and OIDC",
}
LEVELS = (1, 2, 3)
MARKERS = ("asvs", "pytest.mark.asvs")
HEAD = """\
# What the tests check of ASVS 5.0

The [Application Security Verification Standard][project] by OWASP is a list of demands on secure
applications. Chapters V6 to V10 of its version 5.0.0 are about what this workbook builds. They have
{all} requirements, and each has its row below: with the tests that check it, or with the reason why
none does. **{checked} are checked**, {part} of them in part; {open} are not.

- **The words are ours**, and short. Before you rely on a row, read the requirement under its number
  in [the standard][text].
- **Checked** means: the test fails when this is broken in the code of `solutions/`. Every attack of
  a lesson has been tried on wrong solutions: [README.md](README.md) counts them, `tests/mistakes/`
  has them.
- **In part** says what is checked. The rest is not.
- **It is no certificate**, and no audit of a service of yours. What you add, change or leave out is
  for you to check, and the documents that the standard asks for are yours to write.
- **Other chapters** are not listed. Where a lesson meets them, its README names them: V3 for
  cookies and headers, V11 for hashes, V16 for errors and logs.

Levels are the standard's. 1 is where to begin, 2 is for most applications, 3 for those with most to
lose; each asks for those before it, too.

[project]: https://owasp.org/www-project-application-security-verification-standard/
[text]: https://github.com/OWASP/ASVS/tree/master/5.0/en

## In numbers

Requirements that are checked, in whole + in part, of all:

"""
HOW = """
The tests stand behind the number of their lesson. A test's name is what its row says, with
underscores. One of lesson 03, and all of it:

```console
pytest lessons/03::test_every_refusal_reads_the_same --solutions
pytest lessons/03 --solutions
```

"Own" are the workbook's own tests, where no lesson has one, or not all: `pytest tests/test_main.py`
runs a file of them. [README.md](README.md#the-workbooks-own-tests) says what they need.
"""
FOOT = """
## How this is kept

A test says what it checks by a marker, `@asvs("6.2.1")` in a lesson; the requirements are in
`tests/asvs.toml`. `python -m tests.asvs` writes this file of both. `tests/test_asvs.py` fails when
it is out of date, and when a requirement has neither tests nor a reason, or both.
"""


@dataclass(frozen=True)
class Requirement:
    """A requirement of the standard in our words; why no test checks it, or which part one does."""

    number: str
    level: int
    says: str
    part: str = ""
    why: str = ""

    @property
    def chapter(self) -> int:
        """The number of its chapter."""
        return int(self.number.partition(".")[0])


@dataclass(frozen=True)
class Check:
    """A test, and the requirements that its markers name."""

    path: Path
    name: str
    numbers: tuple[str, ...]
    lesson: str = ""  # its number

    @property
    def link(self) -> str:
        """The test's name as a sentence, which leads to its file."""
        sentence = self.name.removeprefix("test_").replace("_", " ").replace(" s ", "'s ")
        return f"[{sentence}]({self.path.relative_to(ROOT).as_posix()})"


def read_requirements() -> list[Requirement]:
    """Return all requirements in the order of the standard."""
    said = tomllib.loads(REQUIREMENTS.read_text("utf-8"))
    return [Requirement(number, **said[number]) for number in said]


@cache
def find_checks() -> tuple[Check, ...]:
    """Return the marked tests of the lessons, then those of the workbook."""
    lessons = [(lesson.tests, lesson.number) for lesson in find_lessons()]
    own = [(path, "") for path in sorted((ROOT / "tests").glob("test_*.py"))]
    return tuple(check for path, number in lessons + own for check in _checks_in(path, number))


def _checks_in(path: Path, lesson: str) -> Iterator[Check]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            numbers = tuple(numbers_of(node.decorator_list))
            if numbers:
                yield Check(path, node.name, numbers, lesson)


def numbers_of(marks: Iterable[ast.expr]) -> Iterator[str]:
    """Yield the requirements that a test's decorators name."""
    for mark in marks:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) in MARKERS:
            yield from map(ast.literal_eval, mark.args)


def text_of(requirements: list[Requirement], checks: Iterable[Check]) -> str:
    """Return what ASVS.md says."""
    by_number: defaultdict[str, list[Check]] = defaultdict(list)
    for check in checks:
        for number in check.numbers:
            by_number[number].append(check)
    kinds = Counter(_kind(each) for each in requirements)
    lines = [
        HEAD.format(
            all=len(requirements),
            checked=kinds["whole"] + kinds["part"],
            part=kinds["part"],
            open=kinds["open"],
        ),
        *_numbers(requirements),
        HOW,
    ]
    for chapter, title in CHAPTERS.items():
        lines += [f"\n## V{chapter} {title}\n\n"]
        lines += ["| | level | it asks for | checked by |\n", "| --- | --- | --- | --- |\n"]
        lines += [
            f"| {each.number} | {each.level} | {each.says} | {_told(each, by_number)} |\n"
            for each in requirements
            if each.chapter == chapter
        ]
    return "".join([*lines, FOOT])


def _kind(requirement: Requirement) -> str:
    return "open" if requirement.why else "part" if requirement.part else "whole"


def _numbers(requirements: list[Requirement]) -> Iterator[str]:
    """Yield a table: a row for each chapter, a column for each level."""
    yield "| chapter | level 1 | level 2 | level 3 | all |\n| --- | --- | --- | --- | --- |\n"
    chapters = [((number,), f"V{number} {CHAPTERS[number]}") for number in CHAPTERS]
    for numbers, title in [*chapters, (tuple(CHAPTERS), "all")]:
        cells = []
        for levels in (*((level,) for level in LEVELS), LEVELS):
            kinds = Counter(
                _kind(each)
                for each in requirements
                if each.chapter in numbers and each.level in levels
            )
            cells.append(f"{kinds['whole']} + {kinds['part']} of {kinds.total()}")
        yield f"| {title} | {' | '.join(cells)} |\n"


def _told(requirement: Requirement, by_number: dict[str, list[Check]]) -> str:
    """Return the last cell of a row: the tests by lesson, or the reason why there is none."""
    if requirement.why:
        return f"*not:* {requirement.why}"
    by_lesson: defaultdict[str, list[str]] = defaultdict(list)
    for check in by_number.get(requirement.number, ()):
        by_lesson[check.lesson or "own"].append(check.link)
    tests = "; ".join(f"{lesson}: {', '.join(by_lesson[lesson])}" for lesson in by_lesson)
    return f"*in part:* {requirement.part}. {tests}" if requirement.part else tests


def main() -> int:
    """Write ASVS.md, and print how many requirements are checked."""
    requirements = read_requirements()
    PATH.write_text(text_of(requirements, find_checks()), "utf-8")
    kinds = Counter(_kind(each) for each in requirements)
    print(
        f"{PATH.name}: {kinds['whole']} + {kinds['part']} of {kinds.total()} requirements checked, "
        "in whole + in part"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
