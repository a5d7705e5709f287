"""`pytest lessons/03 --hint`: the hint for the TODO that is next, and with `=more` a stronger one.

A lesson's HINTS.md has both for each TODO: under `## TODO 2: name_of_the_function` the first, under
`### More` the stronger one.
"""

import re
import textwrap
from dataclasses import dataclass

from lessons.harness.candidate import Candidate
from lessons.harness.catalogue import Lesson
from lessons.harness.screen import WIDTH

LABEL = "hint   "
INDENT = " " * len(LABEL)
THERE_IS_NONE = f"{LABEL}There are no hints in this copy of the workbook."
BROKEN_OFF = f"{LABEL}First do what `next` says, then ask again."
ALL_DONE = f"{LABEL}None is needed: what was run is green."


@dataclass(frozen=True)
class Hint:
    """The two hints of a TODO, in Markdown."""

    function: str
    first: str
    more: str


def find_hints(lesson: Lesson) -> dict[int, Hint]:
    """Return the hints of each TODO by its number; none where the lesson has no HINTS.md."""
    text = lesson.hints.read_text("utf-8") if lesson.hints.exists() else ""
    _, *parts = re.split(r"^## TODO (\d+): (\w+)$", text, flags=re.M)
    hints = {}
    for number, function, both in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        first, _, more = both.partition("\n### More\n")
        hints[int(number)] = Hint(function, first.strip(), more.strip())
    return hints


def hint(lesson: Lesson, todo: int, more: bool) -> list[str]:
    """Return the screen's lines with the first hint for a TODO, or with the stronger one."""
    found = find_hints(lesson).get(todo)
    if found is None:
        return [THERE_IS_NONE]
    lines = _lay_out(found.more if more else found.first)
    if not more:
        lines.append(f"more   pytest lessons/{lesson.number} --hint=more")
    return lines


def hint_below(screen: list[str], candidate: Candidate, more: bool) -> list[str]:
    """Return the hint that belongs below a screen: for what its `do` line names.

    Where no such line stands, it is for the first TODO that is open in the learner's file.
    """
    still = [todo.number for todo in candidate.todos_to_write]
    todo = _todo_to_do(screen, candidate.lesson) or min(still, default=None)
    if todo is not None:
        return hint(candidate.lesson, todo, more)
    return [ALL_DONE if any(line.startswith("done ") for line in screen) else BROKEN_OFF]


def _todo_to_do(screen: list[str], lesson: Lesson) -> int | None:
    do = next((line for line in screen if line.startswith("do ")), "")
    if named := re.match(r"do +TODO (\d+) ", do):
        return int(named[1])
    function = do.removesuffix(", which was given").rpartition(", ")[2]
    hints = find_hints(lesson)
    return next((number for number in hints if hints[number].function == function), None)


def _lay_out(markdown: str) -> list[str]:
    """Lay paragraphs and blocks of code out for the terminal, the first line with the label."""
    lines: list[str] = []
    for block in re.split(r"\n{2,}(?=\S)", markdown):
        if code := re.fullmatch(r"```\w+\n(.*)\n```", block, re.S):
            lines += ["", *(f"{INDENT}{line}".rstrip() for line in code[1].splitlines()), ""]
        else:
            lines += textwrap.wrap(
                " ".join(block.split()),
                WIDTH,
                initial_indent=INDENT,
                subsequent_indent=INDENT,
                break_on_hyphens=False,
            )
    while lines and not lines[-1]:
        lines.pop()
    return [LABEL + lines[0].removeprefix(INDENT), *lines[1:]]
