"""A starter is its reference with some function bodies taken out, and nothing else."""

import ast
import json
import re
import subprocess
import sys

import pytest

from lessons.harness.catalogue import ROOT, Lesson, find_lessons
from lessons.harness.screen import find_heading
from tests.judge import ENVIRONMENT

LESSONS = pytest.mark.parametrize("lesson", find_lessons(), ids=lambda lesson: lesson.slug)
TODO = re.compile(r"TODO (\d+): \S.*")


class _Normal(ast.NodeTransformer):
    """Spells imports absolutely, and empties the functions and declarations that are a TODO."""

    def __init__(self, todos: set[str]) -> None:
        self.todos = todos

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.level == 1:
            node.module = f"solutions.{node.module}" if node.module else "solutions"
            node.level = 0
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if ast.unparse(node.targets[0]) in self.todos:
            node.value = ast.Constant(None)
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        if node.name in self.todos:
            node.body = node.body[:1]  # the docstring
        self.generic_visit(node)
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815


def _todos(lesson: Lesson) -> dict[str, tuple[int, ast.AST]]:
    text = lesson.starter.read_text("utf-8")
    found = {}
    for number, name in re.findall(r"^# TODO (\d+): .+\n(\w+) = ", text, re.M):
        found[name] = (int(number), ast.Pass())  # a declaration that works, and is open
    assert len(found) <= 1
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.body[-1]
            if isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last):
                assert len(node.body) == 2, f"{node.name}: a docstring and a TODO, nothing else"
                message = TODO.fullmatch(ast.literal_eval(last.exc.args[0]))
                assert message, f"{node.name}: TODO with a number and a sentence"
                found[node.name] = (int(message[1]), node)
    return found


@LESSONS
def test_starter_and_reference_differ_in_the_todos_only(lesson: Lesson) -> None:
    todos = set(_todos(lesson))
    starter, reference = (
        ast.dump(_Normal(todos).visit(ast.parse(path.read_text("utf-8"))))
        for path in (lesson.starter, lesson.reference)
    )
    assert starter == reference


@LESSONS
def test_a_lesson_has_two_to_five_small_todos_with_a_section_each(lesson: Lesson) -> None:
    todos = _todos(lesson)
    assert sorted(number for number, _ in todos.values()) == list(range(1, len(todos) + 1))
    assert 2 <= len(todos) <= 5
    tree = ast.parse(lesson.reference.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in todos:
            statements = sum(isinstance(each, ast.stmt) for each in ast.walk(node)) - 2
            assert statements <= 11, f"{node.name} has {statements} statements"
    for name, (number, _) in todos.items():
        heading = find_heading(lesson, name)
        assert heading and heading.startswith(f"TODO {number}: "), heading


@LESSONS
def test_every_test_names_a_todo_that_exists(lesson: Lesson) -> None:
    todos = {(number, name) for name, (number, _) in _todos(lesson).items()}
    for node in ast.parse(lesson.tests.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = [
                ast.literal_eval(ast.Tuple([*mark.args], ast.Load()))
                for mark in node.decorator_list
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "todo"
            ]
            assert len(marks) == 1, node.name
            assert marks[0] in todos, node.name
            assert ast.get_docstring(node), node.name


@LESSONS
def test_starter_and_reference_publish_the_same_openapi(lesson: Lesson) -> None:
    starter, reference = (
        json.loads(
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    "import importlib, json, sys;"
                    "print(json.dumps(importlib.import_module(sys.argv[1]).app.openapi()))",
                    module,
                ],
                cwd=ROOT,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for module in (f"lessons.{lesson.folder.name}.{lesson.slug}", lesson.module)
    )
    assert starter == reference


@LESSONS
def test_solutions_carry_no_marks_of_the_lesson(lesson: Lesson) -> None:
    text = lesson.reference.read_text("utf-8")
    assert "TODO" not in text
    assert "NotImplementedError" not in text


@LESSONS
def test_the_starter_is_kept(lesson: Lesson) -> None:
    """What the screen goes by when the learner's file has changed."""
    assert lesson.kept_starter.read_bytes() == lesson.starter.read_bytes(), (
        f"cp {lesson.starter.relative_to(ROOT)} {lesson.kept_starter.relative_to(ROOT)}"
    )
