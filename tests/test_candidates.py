"""The judges judged: mistakes fall to their named test, right solutions pass."""

import re
import subprocess
from concurrent.futures import Future
from pathlib import Path

import pytest

from lessons.harness.catalogue import ROOT, Lesson, find_lessons
from lessons.harness.grade import Grade
from lessons.harness.signs import sign_of
from lessons.harness.verdicts import OPEN, PASSED, WAITS
from tests.candidates import kept_hints, signed_mistakes
from tests.everyday import IS_EVERYDAY
from tests.judge import (
    MAX_CHANGED_LINES,
    Mistake,
    begin_in_tests,
    find_alternatives,
    find_mistakes,
    named_tests,
    verdicts,
)

LESSONS = find_lessons()
MISTAKES = [mistake for lesson in LESSONS for mistake in find_mistakes(lesson)]
IN_LESSONS = [each for each in MISTAKES if each.in_lesson]
IN_TESTS = [each for each in MISTAKES if not each.in_lesson]


def _one_of_each_test(mistakes: list[Mistake]) -> list[Mistake]:
    """Return one of the mistakes that each test kills: the newest."""
    return [*{(each.lesson, each.killed_by[0]): each for each in mistakes}.values()]


ASKED = _one_of_each_test(IN_LESSONS) if IS_EVERYDAY else IN_LESSONS
ASKED_IN_TESTS = IN_TESTS[::8] if IS_EVERYDAY else IN_TESTS
ALTERNATIVES = [(lesson, path) for lesson in LESSONS for path in find_alternatives(lesson)]

# Rows of the list of attacks that live in these lessons. D6 is not: a taken name is a 409 here.
ROWS = {
    "01": "H1 H2 H3 H4 H5 H6 H7 H8 H10 H13 H14 H15 H17 D7 D8 D9 D11 D12",
    "02": "H4 T1 T2 T3 T5 T6 T7 T8 T9 T10 T12 T13 T15 T19 T20 T21",
    "03": "D1 D2 D5 D8 D12 D13 O9 O13 H5 H7 H8 H10 H13 H15 H17 T15",
    "04": "O1 O2 O4 O5 O7 O8",
    "05": "R1 R2 R3 R4 R5 R6 R8 R9 R11 R12 O10 D18",
    "06": "A1 A2 A3 A4 A5 A7 A8 A9",
    "07": "K1 K2 K3 K4 K6 K7 K8 K9 K12 K15",
    "08": "S1 S2 S3 S4 S5 S6 S7 S11 S14 S21 S22 S23",
    "09": "X1 X2 X4 X5 X6 X9 X10 X12 X16 X22 X23 X24 X25 X26",
    "10": "D14 P1 P3 P8 P10 P11 P12 P13 P21 P29 P30 P31 P32 P33 P34",
    "11": "G1 G2 G3 G4 G5 G6 G7 G8 G9 G10 G11 G12 G13 T4 T16 P14",
    "12": "B1 B2 B3 B4 B5 B7 B8 B9 B12 P21",
    "13": "A11 M1 M2 M3 M4 M5 M6 M7 M8 M9 M10 M11",
}


def _name(value: object) -> str:
    if isinstance(value, Mistake):
        return f"{value.lesson.number}-{value.row}-{value.name}"
    if isinstance(value, tuple):
        return f"{value[0].number}-{value[1].stem}"
    return value.slug if isinstance(value, Lesson) else str(value)


@pytest.fixture(scope="module", autouse=True)
def _begun(request: pytest.FixtureRequest) -> None:
    """Begin with the first test here, in whichever process has this file."""
    request.getfixturevalue("played")
    request.getfixturevalue("judged")


@pytest.mark.parametrize("mistake", ASKED, ids=_name)
def test_a_mistake_falls_to_its_named_test(
    mistake: Mistake, judged: dict[object, Future[Grade]]
) -> None:
    assert mistake.changed_lines <= MAX_CHANGED_LINES
    assert 1 <= len(mistake.killed_by) <= 2
    ended = judged[mistake].result().verdicts
    survived = {name: ended.get(name) for name in mistake.killed_by if ended.get(name) != OPEN}
    assert not survived, f"Expected a failed assertion: {survived}"
    if IS_EVERYDAY:
        return
    built = [name for name, attack in named_tests(mistake.lesson).items() if not attack]
    broken = {name: ended[name] for name in built if ended[name] != PASSED}
    assert set(broken) <= set(mistake.killed_by), f"It does not build: {broken}"


@pytest.fixture(scope="session")
def played(
    request: pytest.FixtureRequest,
) -> dict[object, Future[subprocess.CompletedProcess[str]]]:
    items = [item for item in request.session.items if "played" in item.fixturenames]
    return begin_in_tests(item.callspec.params["mistake"] for item in items)


@pytest.mark.parametrize("mistake", ASKED_IN_TESTS, ids=_name)
def test_a_mistake_in_what_is_given_falls_too(
    mistake: Mistake, played: dict[object, Future[subprocess.CompletedProcess[str]]]
) -> None:
    assert mistake.changed_lines <= MAX_CHANGED_LINES
    done = played[mistake].result()
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^E +(AssertionError|assert |Failed: DID NOT RAISE)", done.stdout, re.M), (
        done.stdout
    )


@pytest.mark.parametrize("alternative", ALTERNATIVES, ids=_name)
def test_an_alternative_is_accepted(
    alternative: tuple[Lesson, Path], judged: dict[object, Future[Grade]]
) -> None:
    lesson, path = alternative
    ended = judged[path].result().verdicts
    assert set(ended) == set(named_tests(lesson))
    assert set(ended.values()) == {PASSED}, ended


@pytest.mark.parametrize("lesson", LESSONS, ids=_name)
def test_the_reference_is_accepted(lesson: Lesson, judged: dict[object, Future[Grade]]) -> None:
    ended = judged[lesson.reference].result().verdicts
    assert set(ended) == set(named_tests(lesson))
    assert set(ended.values()) == {PASSED}, ended


def test_the_second_reference_for_tokens_is_accepted() -> None:
    lesson = next(lesson for lesson in LESSONS if lesson.slug == "tokens")
    assert set(verdicts(lesson, ROOT / "solutions" / "tokens_jose.py").values()) == {PASSED}


@pytest.mark.parametrize("lesson", LESSONS, ids=_name)
def test_the_starter_fails_everywhere_because_of_its_todos(
    lesson: Lesson, judged: dict[object, Future[Grade]]
) -> None:
    ended = judged[lesson.starter].result().verdicts
    assert set(ended) == set(named_tests(lesson))
    assert set(ended.values()) == {WAITS}, ended


@pytest.mark.parametrize("lesson", LESSONS, ids=_name)
def test_the_naive_version_builds_and_is_open(
    lesson: Lesson, judged: dict[object, Future[Grade]]
) -> None:
    expected = {name: OPEN if attack else PASSED for name, attack in named_tests(lesson).items()}
    assert judged[lesson.naive].result().verdicts == expected


@pytest.mark.sign
@pytest.mark.parametrize("lesson", LESSONS, ids=_name)
def test_a_kept_sign_is_how_the_mistake_still_fails(
    lesson: Lesson, judged: dict[object, Future[Grade]]
) -> None:
    """If not: python -m tests.signs, with the lesson's number."""
    kept = kept_hints(lesson)
    signs = {sign_of(judged[each].result().failures): each for each in signed_mistakes(lesson)}
    said = {sign: mistake.hint for sign, mistake in signs.items()}
    assert said == ({sign: kept.get(sign) for sign in said} if IS_EVERYDAY else kept)


@pytest.mark.parametrize("lesson", LESSONS, ids=_name)
def test_every_row_has_a_mistake_and_every_attack_kills_one(lesson: Lesson) -> None:
    mistakes = [mistake for mistake in MISTAKES if mistake.lesson == lesson]
    assert set(ROWS[lesson.number].split()) == {each.row for each in mistakes} - {"own"}
    killers = {name for mistake in mistakes for name in mistake.killed_by}
    assert set(named_tests(lesson)) >= {name for name in killers if not name.startswith("tests/")}
    idle = [name for name, attack in named_tests(lesson).items() if attack and name not in killers]
    assert not idle, f"Nothing shows that these tests can fail: {idle}"
    names = [mistake.name for mistake in mistakes]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("lesson", LESSONS, ids=_name)
def test_a_lesson_has_four_alternatives_and_fifteen_tests_at_most(lesson: Lesson) -> None:
    assert len(find_alternatives(lesson)) >= 4
    assert len(named_tests(lesson)) <= 15
