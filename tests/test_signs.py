"""The screen says which known mistake a failure looks like, and never guesses among several."""

from lessons.harness.catalogue import find_lessons
from lessons.harness.signs import find_hint, sign_of
from tests.judge import Screens, find_mistakes

LESSONS = find_lessons()


def test_what_is_drawn_anew_does_not_count() -> None:
    one = {"test_x": "A token of 'abc' lives 120 seconds, not 1440."}
    other = {"test_x": "A token of 'xyz' lives 180 seconds, not 960."}
    assert sign_of(one) == sign_of(other) != sign_of({"test_y": one["test_x"]})


def test_what_fails_like_nothing_known_has_no_hint() -> None:
    assert find_hint(LESSONS[0], {"test_x": "Something else."}) is None
    assert find_hint(LESSONS[0], {}) is None


def test_the_screen_says_it() -> None:
    lesson = LESSONS[0]
    mistake = next(each for each in find_mistakes(lesson) if "counts characters" in each.name)
    screens = Screens()
    screen = screens.begin(lesson, mistake.text).result()
    assert f"looks  like this: {mistake.hint}" in screen, screen
