"""Which candidates the selected tests ask for, and the judging of them in the background."""

import json
from collections.abc import Iterable
from concurrent.futures import Future

import pytest

from lessons.harness.catalogue import Lesson, find_lessons
from lessons.harness.grade import Grade
from lessons.harness.signs import FOLDER
from tests.everyday import IS_EVERYDAY
from tests.judge import Mistake, begin, find_mistakes


def begin_asked(items: Iterable[pytest.Function]) -> dict[object, "Future[Grade]"]:
    """Start judging what these tests ask for: a mistake by all tests only if its sign is kept."""
    wanted = {each for item in items for each in _asked_by(item)}
    signed = {each for lesson in find_lessons() for each in signed_mistakes(lesson)}
    return begin(find_lessons(), wanted, lambda each: each not in signed, shortest=IS_EVERYDAY)


def kept_hints(lesson: Lesson) -> dict[str, str]:
    """Return the kept signs of a lesson's mistakes, and what the screen says then."""
    file = FOLDER / f"{lesson.slug}.json"
    if not file.exists():
        return {}
    hints: dict[str, str] = json.loads(file.read_text("utf-8"))["hints"]
    return hints


def signed_mistakes(lesson: Lesson) -> list[Mistake]:
    """Return the mistakes of a lesson whose sign is kept; every day two, which meet all tests."""
    hints = kept_hints(lesson).values()
    signed = [each for each in find_mistakes(lesson) if each.hint in hints]
    return signed[:: -(-len(signed) // 2)] if IS_EVERYDAY else signed


def _asked_by(item: pytest.Function) -> list[object]:
    (asked,) = item.callspec.params.values()
    if isinstance(asked, Lesson) and "sign" in item.keywords:
        return [*signed_mistakes(asked)]
    if isinstance(asked, Lesson):
        return [asked.reference, asked.starter, asked.naive]
    return [asked[1] if isinstance(asked, tuple) else asked]
