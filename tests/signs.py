"""What the screen may tell by known mistakes: `python -m tests.signs`, or `... 03` for one lesson.

Of each mistake with a hint it keeps how the lesson's tests fail on it, if it fails so each time,
and if no mistake with another hint, or with none, fails so. Of each part it keeps how each test
fails on the mistakes and on a learner's typical errors in it. It runs every mistake of the lesson;
for all lessons that takes some minutes.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from lessons.harness.catalogue import Lesson, find_lessons
from lessons.harness.composite import Module, find_todos
from lessons.harness.signs import FOLDER, sign_of
from tests.judge import Mistake, failures_of, find_mistakes, find_typical_errors

TIMES = 8  # what is drawn may change what a mistake does in one run of ten


def sign_of_mistake(mistake: Mistake) -> str:
    """Return how a mistake fails."""
    return sign_of(failures_of(mistake))


def part_of(mistake: Mistake) -> str | None:
    """Return the TODO in which a mistake lies, if it is one alone."""
    wrong = Module(mistake.text.encode(), mistake.name)
    given = Module(mistake.lesson.kept_starter.read_bytes(), mistake.lesson.slug)
    differing = wrong.differing(Module(mistake.file.read_bytes(), str(mistake.file)))
    changed = {wrong.known_to(given, name) for name in differing}
    names = {todo.name for todo in find_todos(mistake.lesson)} & changed
    return names.pop() if len(names) == 1 else None


def signs_of_parts(lies_in: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, list[list[str]]]:
    """Return, for each part, how the tests fail on each known error in it."""
    known: dict[str, set[tuple[str, ...]]] = {}
    for part, said in lies_in:
        signs = sorted(sign_of({name: said[name]}) for name in said)
        known.setdefault(part, set()).add(tuple(signs))
    return {part: sorted(map(list, known[part])) for part in sorted(known)}


def keep_signs(lesson: Lesson) -> list[str]:
    """Write a lesson's signs. Return the mistakes whose hint can't be shown."""
    mistakes = [each for each in find_mistakes(lesson) if each.in_lesson]
    hinted = [each for each in mistakes if each.hint]
    errors = list(find_typical_errors(lesson))
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        failures = dict(zip(mistakes, pool.map(failures_of, mistakes), strict=True))
        of_errors = [*pool.map(failures_of, errors)]
        again = [*zip(hinted * TIMES, pool.map(sign_of_mistake, hinted * TIMES), strict=True)]
    signs = {each: sign_of(failures[each]) for each in mistakes}
    hints = {}
    for each in hinted:
        alike = [other for other in mistakes if signs[other] == signs[each]]
        is_stable = {sign for other, sign in again if other == each} == {signs[each]}
        if is_stable and {other.hint for other in alike} == {each.hint}:
            hints[signs[each]] = each.hint
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{lesson.slug}.json"
    lies_in = [(part, failures[each]) for each in mistakes if (part := part_of(each))]
    lies_in += zip([each.part for each in errors], of_errors, strict=True)
    kept = {"hints": hints, "parts": signs_of_parts(lies_in)}
    file.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    return [
        f"{each.name}: {[other.name for other in mistakes if signs[other] == signs[each]]}"
        for each in hinted
        if signs[each] not in hints
    ]


if __name__ == "__main__":
    for lesson in find_lessons():
        if lesson.number in (sys.argv[1:] or lesson.number):
            left_out = keep_signs(lesson)
            print(f"{lesson.number}: fail like others, or not always alike:", *left_out, sep="\n  ")
