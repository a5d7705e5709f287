"""The learner's module with some of its parts taken from the reference.

Both files are equal outside the TODOs, so a part is swapped by its name. With the reference's part
in each TODO that is still open, every finished one counts by itself. With it in one finished part
at a time, it shows whose fault a failure is.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType

from lessons.harness.catalogue import Lesson

NOTE = "__a_todo_is_open__"  # the swapped parts call it; the candidate's loader defines it

Part = ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Todo:
    """One TODO of a lesson: its number, and the function or declaration to write."""

    number: int
    name: str


@cache
def find_todos(lesson: Lesson) -> tuple[Todo, ...]:
    """Return the TODOs that the lesson's tests name, in their order."""
    found = re.findall(r'^@todo\((\d+), "(\w+)"\)$', lesson.tests.read_text("utf-8"), re.M)
    return tuple(Todo(int(number), name) for number, name in sorted(set(found)))


class Module:
    """A module by its parts: its functions, also those inside others, and its declarations."""

    def __init__(self, text: bytes, path: str) -> None:
        self._text = text
        self._path = path
        self.parts = dict(_parts(ast.parse(text, path)))

    def line_of(self, name: str) -> int | None:
        """Return the line on which a part begins, below its decorators."""
        return self.parts[name].lineno if name in self.parts else None

    def is_open(self, todo: Todo, starter: "Module | None") -> bool:
        """Tell whether a TODO is still to be written."""
        part = self.parts.get(todo.name)
        if isinstance(part, FUNCTIONS):
            last = part.body[-1]
            return isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last)
        # A declaration works from the beginning: it is open as long as it is the starter's.
        given = starter.parts.get(todo.name) if starter else None
        return part is not None and given is not None and _text(part) == _text(given)

    def differing(self, other: "Module") -> list[str]:
        """Return the names of the parts that say something else than the other module's.

        Of a function that differs only in one inside it, the inner one.
        """
        shared = [name for name in self.parts if name in other.parts]
        names = [name for name in shared if _text(self.parts[name]) != _text(other.parts[name])]
        inside = {
            each.name
            for name in names
            for each in ast.walk(self.parts[name])
            if isinstance(each, FUNCTIONS) and each is not self.parts[name]
        }
        outer = {
            name
            for name in names
            if any(each in names for each in inside & _names_inside(self.parts[name]))
        }
        return [name for name in names if name not in outer]

    def with_parts_of(self, other: "Module", names: list[str], noted: dict[str, int]) -> CodeType:
        """Compile the module with some parts of another one in the place of its own.

        Where a name is among the `noted`, its part first calls NOTE with the number there.
        """
        tree = ast.parse(self._text, self._path)
        swapper = _Swapper({name: other.parts[name] for name in names}, noted)
        return compile(
            ast.fix_missing_locations(swapper.visit(tree)), self._path, "exec", dont_inherit=True
        )


class _Swapper(ast.NodeTransformer):
    """Puts parts in the place of others, at the lines where those begin."""

    def __init__(self, parts: dict[str, Part], noted: dict[str, int]) -> None:
        self._parts = parts
        self._noted = noted

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        name = ast.unparse(node.targets[0])
        return _at(node, _copy(self._parts[name])) if name in self._parts else node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        if node.name not in self._parts:
            self.generic_visit(node)
            return node
        part = _copy(self._parts[node.name])
        if node.name in self._noted and isinstance(part, FUNCTIONS):
            call = ast.parse(f"{NOTE}({self._noted[node.name]})").body[0]
            part.body.insert(1 if ast.get_docstring(part) else 0, call)
        return _at(node, part)

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815


def _parts(tree: ast.Module) -> Iterator[tuple[str, Part]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            yield node.name, node


def _names_inside(part: Part) -> set[str]:
    return {
        each.name for each in ast.walk(part) if isinstance(each, FUNCTIONS) and each is not part
    }


def _text(part: Part) -> str:
    """Return what a part says: without comments, blanks and its docstring."""
    part = _copy(part)
    for each in ast.walk(part):
        if isinstance(each, FUNCTIONS) and ast.get_docstring(each) and len(each.body) > 1:
            del each.body[0]
    return ast.unparse(part)


def _copy(part: Part) -> Part:
    copy = ast.parse(ast.unparse(part)).body[0]
    assert isinstance(copy, Part)
    return copy


def _at(place: ast.AST, part: ast.AST) -> ast.AST:
    """Give a part the line where it is put, so that what goes wrong in it is found there."""
    for node in ast.walk(part):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = place.lineno  # type: ignore[attr-defined]
            node.col_offset = node.end_col_offset = 0  # type: ignore[attr-defined]
    return part
