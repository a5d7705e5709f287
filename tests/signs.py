"""Which mistakes the screen may name: `python -m tests.signs`, or `... 03` for one lesson.

Of each mistake with a hint it keeps how the lesson's tests fail on it, if it fails so each time,
and if no mistake with another hint, or with none, fails so. It runs every mistake of the lesson;
for all lessons that takes some minutes.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from lessons.harness.catalogue import Lesson, find_lessons
from lessons.harness.signs import FOLDER, sign_of
from tests.judge import Mistake, failures_of, find_mistakes

TIMES = 8  # what is drawn may change what a mistake does in one run of ten


def sign_of_mistake(mistake: Mistake) -> str:
    """Return how a mistake fails."""
    return sign_of(failures_of(mistake))


def keep_signs(lesson: Lesson) -> list[str]:
    """Write a lesson's signs. Return the mistakes whose hint can't be shown."""
    mistakes = [each for each in find_mistakes(lesson) if each.in_lesson]
    hinted = [each for each in mistakes if each.hint]
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        signs = dict(zip(mistakes, pool.map(sign_of_mistake, mistakes), strict=True))
        again = [*zip(hinted * TIMES, pool.map(sign_of_mistake, hinted * TIMES), strict=True)]
    kept = {}
    for each in hinted:
        alike = [other for other in mistakes if signs[other] == signs[each]]
        is_stable = {sign for other, sign in again if other == each} == {signs[each]}
        if is_stable and {other.hint for other in alike} == {each.hint}:
            kept[signs[each]] = each.hint
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{lesson.slug}.json"
    file.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    return [
        f"{each.name}: {[other.name for other in mistakes if signs[other] == signs[each]]}"
        for each in hinted
        if signs[each] not in kept
    ]


if __name__ == "__main__":
    for lesson in find_lessons():
        if lesson.number in (sys.argv[1:] or lesson.number):
            left_out = keep_signs(lesson)
            print(f"{lesson.number}: fail like others, or not always alike:", *left_out, sep="\n  ")
