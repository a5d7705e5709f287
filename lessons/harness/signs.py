"""What known mistakes tell of a learner's file, by the way in which its tests fail.

`signs/<slug>.json` keeps, without saying what they are, how the lesson's tests fail on them.
`hints`: the sign of each mistake that comes with a hint and fails like no other. `parts`: by the
part of the file in which a mistake lies, the sign of each test that fails on it; so where no
reference can show it, the screen still knows where to look first. `python -m tests.signs` writes
both.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lessons.harness.catalogue import Lesson

FOLDER = Path(__file__).with_name("signs")
SHORT = 12  # letters of a digest
DRAWN = re.compile(r"'[^']*'|\S*[\d/]\S*")  # what may be another value in the next run


def sign_of(failures: Mapping[str, str]) -> str:
    """Return a short text that stands for failed tests, by name, and what they said."""
    told = [f"{name} {' '.join(DRAWN.sub('', failures[name]).split())}" for name in failures]
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()[:SHORT]


def find_hint(lesson: Lesson, failures: Mapping[str, str]) -> str | None:
    """Return the hint of the one known mistake whose tests fail in the same way."""
    hints: dict[str, str] = _kept(lesson).get("hints", {})
    return hints.get(sign_of(failures)) if failures else None


def likeness(lesson: Lesson, failures: Mapping[str, str]) -> dict[str, float]:
    """Return how much these failures are like those of the likest known mistake in each part.

    0 is nothing in common, 1 the same tests saying the same.
    """
    signs = {sign_of({name: failures[name]}) for name in failures}
    known: dict[str, list[list[str]]] = _kept(lesson).get("parts", {})
    return {
        part: max((len(signs & {*each}) / len(signs | {*each}) for each in mistakes), default=0.0)
        for part, mistakes in known.items()
    }


def parts_that_say(lesson: Lesson, failures: Mapping[str, str]) -> set[str]:
    """Return the parts in which a known mistake lies that makes a test say one of these."""
    signs = {sign_of({name: failures[name]}) for name in failures}
    known: dict[str, list[list[str]]] = _kept(lesson).get("parts", {})
    return {part for part, mistakes in known.items() if any(signs & {*each} for each in mistakes)}


@cache
def _kept(lesson: Lesson) -> dict[str, Any]:
    file = FOLDER / f"{lesson.slug}.json"
    kept: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return kept
