"""The screen names the part that is wrong, says what is wrong, and calls the other TODOs right."""

import re
import shutil
from concurrent.futures import Future

import pytest

from lessons.harness.catalogue import ROOT, Lesson, find_lessons
from lessons.harness.composite import Module, find_todos
from tests.everyday import IS_EVERYDAY
from tests.handout import make
from tests.judge import Screens, TypicalError, find_typical_errors

LESSONS = find_lessons()
ERRORS = [error for lesson in LESSONS for error in find_typical_errors(lesson)]
ONE_A_PART = {(error.lesson, error.part): error for error in ERRORS}
ASKED = [*ONE_A_PART.values()] if IS_EVERYDAY else ERRORS


Shown = dict[TypicalError, Future[str]]


@pytest.fixture(scope="module")
def screens() -> Screens:
    return Screens()


@pytest.fixture(scope="module")
def shown(request: pytest.FixtureRequest, screens: Screens) -> Shown:
    """The screens for the errors of the selected tests, made side by side."""
    return {each: screens.begin(each.lesson, each.text) for each in _asked_for("shown", request)}


@pytest.fixture(scope="module")
def shown_in_a_handout(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Shown:
    """The same where there are no references, for a learner who has done all other TODOs."""
    folder = make(tmp_path_factory.mktemp("class") / "workbook")
    for lesson in LESSONS:
        shutil.copy(lesson.reference, folder / lesson.starter.relative_to(ROOT))
    screens = Screens(folder)
    errors = _asked_for("shown_in_a_handout", request)
    return {each: screens.begin(each.lesson, each.text) for each in errors}


def _asked_for(fixture: str, request: pytest.FixtureRequest) -> list[TypicalError]:
    own = [each for each in request.session.items if each.path == request.path]
    asking = [each for each in own if fixture in each.fixturenames]
    if any(not hasattr(each, "callspec") for each in asking):
        return ASKED
    return [each.callspec.params["error"] for each in asking]


def _starter_with(error: TypicalError) -> str:
    """Return the starter in which one TODO is written, with the error."""
    lines = error.lesson.kept_starter.read_text("utf-8").splitlines(keepends=True)
    wrong = error.text.splitlines(keepends=True)
    given = Module("".join(lines).encode(), "the starter").parts[error.part]
    written = Module(error.text.encode(), "the error").parts[error.part]
    lines[given.lineno - 1 : given.end_lineno] = wrong[written.lineno - 1 : written.end_lineno]
    return "".join(lines)


def _parts_named(screen: str, verbs: str = "fix|and fix") -> list[str]:
    return re.findall(rf"^(?:do  |    )   (?:{verbs}) \S+:\d+, (\w+)", screen, re.M)


def _name(error: TypicalError) -> str:
    return f"{error.lesson.number}-{error.name}"


each_error = pytest.mark.parametrize("error", ASKED, ids=_name)


@each_error
def test_the_part_that_is_wrong_is_named(error: TypicalError, shown: Shown) -> None:
    screen = shown[error].result()
    assert _parts_named(screen) == [error.part], screen
    assert error.says in re.sub(r"\s+", " ", screen), screen
    for todo in find_todos(error.lesson):
        state = "wrong" if todo.name == error.part else "right"
        assert f"TODO {todo.number} {state}" in screen, screen


@each_error
def test_without_a_reference_it_is_among_those_to_look_at(
    error: TypicalError, shown_in_a_handout: Shown
) -> None:
    screen = shown_in_a_handout[error].result()
    assert error.part in _parts_named(screen, "fix|look at|or at"), screen
    for todo in find_todos(error.lesson):
        untrue = "right" if todo.name == error.part else "wrong"
        assert f"TODO {todo.number} {untrue}" not in screen, screen


def test_without_a_reference_it_is_nearly_always_the_first(shown_in_a_handout: Shown) -> None:
    """What known mistakes tell; the learner's error is like one of them, or it is new."""
    later = {
        f"{error.lesson.number}-{error.name}"
        for error in ASKED
        if _parts_named(shown_in_a_handout[error].result(), "fix|look at|or at")[0] != error.part
    }
    assert len(later) <= len(ASKED) / 10, later


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.slug)
def test_it_is_named_while_the_other_todos_are_still_to_write(
    screens: Screens, lesson: Lesson
) -> None:
    """One error a lesson: the reference stands in for what is not written."""
    todos = find_todos(lesson)
    names = [todo.name for todo in todos]
    error = next(each for each in ERRORS if each.lesson == lesson and each.part in names)
    screen = screens.begin(lesson, _starter_with(error)).result()
    assert _parts_named(screen) == [error.part], screen
    for todo in todos:
        state = "wrong" if todo.name == error.part else "to write"
        assert f"TODO {todo.number} {state}" in screen, screen


def test_there_are_errors_of_many_kinds() -> None:
    assert len(ERRORS) >= 40
    for lesson in LESSONS:
        parts = {error.part for error in ERRORS if error.lesson == lesson}
        assert parts >= {todo.name for todo in find_todos(lesson)}, lesson.slug
