"""The screen names the part that is wrong, says what is wrong, and calls the other TODOs right."""

import re
from collections.abc import Iterator

import pytest

from lessons.harness.catalogue import Lesson, find_lessons
from lessons.harness.composite import Module, find_todos
from tests.judge import Screens, TypicalError, find_typical_errors

LESSONS = find_lessons()
ERRORS = [error for lesson in LESSONS for error in find_typical_errors(lesson)]


@pytest.fixture(scope="module")
def screens() -> Iterator[Screens]:
    screens = Screens()
    yield screens
    screens.close()


def _starter_with(error: TypicalError) -> str:
    """Return the starter in which one TODO is written, with the error."""
    lines = error.lesson.kept_starter.read_text("utf-8").splitlines(keepends=True)
    wrong = error.text.splitlines(keepends=True)
    given = Module("".join(lines).encode(), "the starter").parts[error.part]
    written = Module(error.text.encode(), "the error").parts[error.part]
    lines[given.lineno - 1 : given.end_lineno] = wrong[written.lineno - 1 : written.end_lineno]
    return "".join(lines)


def _parts_named(screen: str) -> list[str]:
    return re.findall(r"^(?:do  |    )   fix \S+:\d+, (\w+)", screen, re.M)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{error.lesson.number}-{error.name}")
def test_the_part_that_is_wrong_is_named(error: TypicalError, screens: Screens) -> None:
    screen = screens.of(error.lesson, error.text)
    assert _parts_named(screen) == [error.part], screen
    assert error.says in re.sub(r"\s+", " ", screen), screen
    for todo in find_todos(error.lesson):
        state = "wrong" if todo.name == error.part else "right"
        assert f"TODO {todo.number} {state}" in screen, screen


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.slug)
def test_it_is_named_while_the_other_todos_are_still_to_write(
    screens: Screens, lesson: Lesson
) -> None:
    """One error a lesson: the reference stands in for what is not written."""
    todos = find_todos(lesson)
    names = [todo.name for todo in todos]
    error = next(each for each in ERRORS if each.lesson == lesson and each.part in names)
    screen = screens.of(lesson, _starter_with(error))
    assert _parts_named(screen) == [error.part], screen
    for todo in todos:
        state = "wrong" if todo.name == error.part else "to write"
        assert f"TODO {todo.number} {state}" in screen, screen


def test_there_are_errors_of_many_kinds() -> None:
    assert len(ERRORS) >= 40
    for lesson in LESSONS:
        parts = {error.part for error in ERRORS if error.lesson == lesson}
        assert parts >= {todo.name for todo in find_todos(lesson)}, lesson.slug
