"""Which lessons have been green, and with which file: an earlier one may be at fault later on.

Kept in pytest's cache. Without one, no lesson has been green.
"""

import hashlib
from collections.abc import Iterable

import pytest

from lessons.harness.catalogue import Lesson

KEY = "workbook/green"


def note_green(config: pytest.Config, lessons: Iterable[Lesson]) -> None:
    """Remember that all tests of these lessons passed with the learner's files as they are now."""
    if cache := getattr(config, "cache", None):
        cache.set(KEY, cache.get(KEY, {}) | {each.number: _fingerprint(each) for each in lessons})


def not_green(config: pytest.Config, lessons: Iterable[Lesson]) -> list[Lesson]:
    """Return those of the lessons that have not been green with the file as it is now."""
    cache = getattr(config, "cache", None)
    greens = cache.get(KEY, {}) if cache else {}
    return [each for each in lessons if greens.get(each.number) != _fingerprint(each)]


def _fingerprint(lesson: Lesson) -> str:
    return hashlib.sha256(lesson.starter.read_bytes()).hexdigest()
