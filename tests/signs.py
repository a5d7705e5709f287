"""Which mistakes the screen may name: `python -m tests.signs`, or `... 03` for one lesson.

Of each mistake with a hint it keeps how the lesson's tests fail on it, if no other mistake fails
so, and if it fails so twice. It runs every mistake of the lesson; for all lessons that takes some
minutes.
"""

import json
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from lessons.harness.catalogue import Lesson, find_lessons
from lessons.harness.signs import FOLDER, sign_of
from tests.judge import Mistake, failures_of, find_mistakes


def sign_of_mistake(mistake: Mistake) -> str:
    """Return how a mistake fails."""
    return sign_of(failures_of(mistake))


def keep_signs(lesson: Lesson) -> list[str]:
    """Write a lesson's signs. Return the mistakes whose hint can't be shown."""
    mistakes = [each for each in find_mistakes(lesson) if each.in_lesson]
    hinted = [each for each in mistakes if each.hint]
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        signs = dict(zip(mistakes, pool.map(sign_of_mistake, mistakes), strict=True))
        again = dict(zip(hinted, pool.map(sign_of_mistake, hinted), strict=True))
    times = Counter(signs.values())
    kept = {
        again[each]: each.hint
        for each in hinted
        if signs[each] == again[each] and times[again[each]] == 1
    }
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(kept, indent=2) + "\n"
    (FOLDER / f"{lesson.slug}.json").write_text(text, "utf-8")
    return [each.name for each in hinted if each.hint not in kept.values()]


if __name__ == "__main__":
    for lesson in find_lessons():
        if lesson.number in (sys.argv[1:] or lesson.number):
            left_out = keep_signs(lesson)
            print(f"{lesson.number}: left out, since they fail like others: {left_out or 'none'}")
