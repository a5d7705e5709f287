"""What a warm process can import before it is told what to run.

A run of `--watch` has it ready before the file is saved for which it waits.
"""

import importlib
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lessons.harness.catalogue import (
    LESSONS,
    Lesson,
    UnknownLesson,
    expand,
    find_lessons,
    lesson_of,
)
from lessons.harness.refusals import note_refusals

# The helpers of the tests, and what the lessons are given. The steps are the learner's.
HELPERS = re.compile(
    r"^from (lessons\.harness\.\w+|solutions\.(?:stores|support)\.\w+) import", re.M
)
OWN = ("lessons", "solutions", "conftest")


def lessons_of(config: pytest.Config) -> set[Lesson]:
    """Return the lessons that are named on the command line."""
    here, lessons = config.invocation_params.dir, set()
    for argument in config.args:
        with suppress(UnknownLesson):  # the run says so
            lessons.add(lesson_of((here / expand(argument, here)).resolve()))
    return {each for each in lessons if each}


def import_helpers(lessons: Iterable[Lesson] = ()) -> None:
    """Import what the tests of lessons, or of all, import first, but for the learner's files.

    With lessons it is for one run, and that has its own settings, which lessons/conftest.py draws.
    """
    if lessons:
        with suppress(Exception):
            importlib.import_module("lessons.conftest")
    files = {LESSONS / "conftest.py"}
    for lesson in lessons or find_lessons():
        files |= {lesson.tests, lesson.kept_starter}
    for file in files:
        with suppress(Exception):  # here too: in the run there is a screen for it
            for name in HELPERS.findall(file.read_text("utf-8")):
                importlib.import_module(name)


def import_steps_below(lessons: Collection[Lesson]) -> None:
    """Import the references on which a graded lesson stands; if it is one, and there are any."""
    if len(lessons) != 1:  # of two one may stand on the other
        return
    note_refusals()  # as a run does before it imports one
    (lesson,) = lessons
    text = lesson.kept_starter.read_text("utf-8")
    names = ", ".join(re.findall(r"^from solutions import (.+)", text, re.M)).split(", ")
    below = [each for each in find_lessons() if each.slug in names]
    if all(each.reference.exists() for each in below):
        for each in below:
            importlib.import_module(each.module)


def test_files(lessons: Iterable[Lesson]) -> set[Path]:
    """Return the files in which pytest looks for the tests of lessons."""
    return {file for lesson in lessons for file in lesson.folder.glob("test_*.py")}


def files_read(config: pytest.Config) -> Iterator[Path]:
    """Return the workbook's files that this process has read already."""
    root = config.rootpath
    yield from (*root.glob("*.toml"), *root.glob("*.env"))
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OWN and (file := getattr(module, "__file__", None)):
            yield Path(file)
