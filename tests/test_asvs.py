"""ASVS.md is true: each requirement has tests or a reason, and the tests are there."""

import ast
import re
from collections import Counter
from itertools import groupby

import pytest

from lessons.harness.catalogue import Lesson, find_lessons
from tests import asvs
from tests.judge import run_pytest

# Of version 5.0.0, as OWASP publishes it: the levels in a section, from its first requirement on.
LEVELS = {
    **{"6.1": "122", "6.2": "111111112222", "6.3": "11223333", "6.4": "112233"},
    **{"6.5": "22222333", "6.6": "2223", "6.7": "33", "6.8": "2222"},
    **{"7.1": "222", "7.2": "1111", "7.3": "22", "7.4": "11222", "7.5": "223", "7.6": "22"},
    **{"8.1": "1233", "8.2": "1123", "8.3": "133", "8.4": "23"},
    **{"9.1": "111", "9.2": "1222"},
    **{"10.1": "22", "10.2": "223", "10.3": "22223", "10.4": "1111122222233333"},
    **{"10.5": "22222", "10.6": "22", "10.7": "222"},
}
AIM = 60  # requirements with a test
CITED = re.compile(r"(?<![\d.])(?:[6-9]|10)\.\d+\.\d+(?![\d.]*\d)")
MARKED = {number for check in asvs.find_checks() for number in check.numbers}


def test_the_file_is_what_the_command_writes() -> None:
    text = asvs.text_of(asvs.read_requirements(), asvs.find_checks())
    assert asvs.PATH.read_text("utf-8") == text, "python -m tests.asvs"


def test_numbers_and_levels_are_the_standards() -> None:
    requirements = asvs.read_requirements()
    assert len(requirements) == 122
    assert [(each.number, each.level) for each in requirements] == [
        (f"{section}.{place}", int(level))
        for section, levels in LEVELS.items()
        for place, level in enumerate(levels, 1)
    ]


def test_each_requirement_has_tests_or_a_reason() -> None:
    for each in asvs.read_requirements():
        assert (each.number in MARKED) != bool(each.why), each
        assert not (each.part and each.why), each
    assert {each.number for each in asvs.read_requirements()} >= MARKED


def test_enough_of_them_have_tests() -> None:
    assert len(MARKED) >= AIM


def test_a_requirement_is_a_few_words_of_its_own() -> None:
    requirements = asvs.read_requirements()
    assert max(Counter(each.says for each in requirements).values()) == 1
    for each in requirements:
        for text in filter(None, (each.says, each.part, each.why)):
            assert text.isascii() and "|" not in text and not text.endswith("."), each
        assert len(each.says.split()) <= 25, each


def test_pytest_sees_the_same_marks() -> None:
    """The marked tests are among those that a learner runs, and are read as they are."""
    printed = run_pytest("lessons", "--collect-only", "-q", "-m", "asvs").stdout
    seen = set(re.findall(r"^lessons/(\d\d)_\w+/test_\w+\.py::(\w+)", printed, re.M))
    assert seen == {(each.lesson, each.name) for each in asvs.find_checks() if each.lesson}


def test_a_test_has_each_number_once_and_in_order() -> None:
    for check in asvs.find_checks():
        places = [tuple(map(int, number.split("."))) for number in check.numbers]
        assert places == sorted(set(places)), check


@pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)
def test_what_a_docstring_cites_is_marked(lesson: Lesson) -> None:
    """A number in a learner's sight is one that the test stands for."""
    for node in ast.parse(lesson.tests.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            cited = set(CITED.findall(ast.get_docstring(node) or ""))
            assert cited <= set(asvs.numbers_of(node.decorator_list)), node.name


@pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)
def test_what_a_readme_lists_is_marked(lesson: Lesson) -> None:
    """Lesson 01 lists none of these: its numbers stand where they are met."""
    text = lesson.readme.read_text("utf-8")
    listed = re.search(r"ASVS\s5\.0:?\s([\s\d.,to]+)", text)
    assert listed
    checks = [each for each in asvs.find_checks() if each.lesson == lesson.number]
    assert set(CITED.findall(listed[1])) <= {number for each in checks for number in each.numbers}


def test_a_marker_is_read_in_both_spellings() -> None:
    source = '@asvs("6.2.1", "6.2.4")\n@pytest.mark.asvs("7.1.1")\n@todo(1, "f")\ndef f(): ...'
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert [*asvs.numbers_of(function.decorator_list)] == ["6.2.1", "6.2.4", "7.1.1"]


def test_each_chapter_has_its_table() -> None:
    rows = re.findall(r"^\| (\d+)\.\d+\.\d+ \|", asvs.PATH.read_text("utf-8"), re.M)
    assert [int(chapter) for chapter, _ in groupby(rows)] == [*asvs.CHAPTERS]
