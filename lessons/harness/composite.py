"""The learner's module with some of its parts taken from the reference.

Both files are equal outside the TODOs, so a part is swapped by its name. With the reference's part
in each TODO that is still open, every finished one counts by itself. With it in one finished part
at a time, it shows whose fault a failure is. Where there is no reference, the parts can still tell
which of them ran.
"""

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType

from lessons.harness.catalogue import Lesson

NOTE = "__came_through__"  # the noted parts call it; the candidate's loader defines it

Part = ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign
IMPORTS = (ast.Import, ast.ImportFrom)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, order=True)
class Todo:
    """One TODO of a lesson: its number, and the function or declaration to write."""

    number: int
    name: str


@cache
def find_todos(lesson: Lesson) -> tuple[Todo, ...]:
    """Return the TODOs of the lesson's starter, in their order."""
    text = lesson.kept_starter.read_text("utf-8")
    declared = re.findall(r"^# TODO (\d+): .+\n(?:#.*\n)*(\w+) = ", text, re.M)
    raised = [
        (found[1], node.name)
        for node in _statements(ast.parse(text))
        if isinstance(node, FUNCTIONS)
        and (found := re.search(r"NotImplementedError\(.TODO (\d+):", ast.unparse(node.body[-1])))
    ]
    return tuple(sorted(Todo(int(number), name) for number, name in declared + raised))


class Module:
    """A module by its parts: its functions, also those inside others, and its declarations."""

    def __init__(self, text: bytes, path: str) -> None:
        self._text = text
        self._path = path
        tree = ast.parse(text, path)
        self.parts = dict(_parts(tree))
        self._outer = dict(reversed([*_inner_and_outer(tree)]))  # of several, the outermost
        self.imports = [each for each in tree.body if isinstance(each, IMPORTS)]

    def line_of(self, name: str) -> int | None:
        """Return the line on which a part begins, below its decorators."""
        return self.parts[name].lineno if name in self.parts else None

    def known_to(self, starter: "Module", name: str) -> str:
        """Return a part's name, or that of the one around it, if the starter has only that one."""
        return name if name in starter.parts else self._outer.get(name, name)

    def is_open(self, todo: Todo, starter: "Module") -> bool:
        """Tell whether nothing of a TODO is written yet, so that the reference may stand in."""
        part, given = self.parts.get(todo.name), starter.parts.get(todo.name)
        if isinstance(part, FUNCTIONS) and isinstance(given, FUNCTIONS):
            if ast.dump(part.args) != ast.dump(given.args):
                return False  # the lesson calls it in another way, and that is to be said
            body = part.body[1:] if ast.get_docstring(part) else part.body
            return all(map(_says_nothing, body))
        # A declaration works from the beginning. It is open until it or its TODO is changed.
        is_kept = part is not None and given is not None and _text(part) == _text(given)
        return is_kept and f"# TODO {todo.number}:".encode() in self._text

    def is_written(self, todo: Todo) -> bool:
        """Tell whether a function no longer says anywhere that it is a TODO."""
        part = self.parts.get(todo.name)
        return part is None or "NotImplementedError" not in ast.unparse(part)

    def differing(self, other: "Module") -> list[str]:
        """Return the names of the parts that say something else than the other module's.

        A function is not among them because of another one inside it.
        """
        shared = [name for name in self.parts if name in other.parts]
        return [name for name in shared if _text(self.parts[name]) != _text(other.parts[name])]

    def noting(self, names: Collection[str]) -> CodeType:
        """Compile the module as it is, but that the functions of these names first call NOTE."""
        tree = ast.parse(self._text, self._path)
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS) and node.name in names:
                _note(node)
        return compile(ast.fix_missing_locations(tree), self._path, "exec", dont_inherit=True)

    def with_parts_of(self, other: "Module", names: list[str], noted: Collection[str]) -> CodeType:
        """Compile the module with some parts of another one in the place of its own.

        Those of the `noted` names first call NOTE.
        """
        tree = ast.parse(self._text, self._path)
        parts, imports = _with_their_imports({name: other.parts[name] for name in names}, other)
        _Swapper(parts, noted).visit(tree)
        first = next((i for i, each in enumerate(tree.body) if not _must_lead(each)), 0)
        tree.body[first:first] = imports
        return compile(ast.fix_missing_locations(tree), self._path, "exec", dont_inherit=True)


def _says_nothing(statement: ast.stmt) -> bool:
    raised = isinstance(statement, ast.Raise) and "NotImplementedError" in ast.unparse(statement)
    dots = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return raised or dots or isinstance(statement, ast.Pass)


def _must_lead(statement: ast.stmt) -> bool:
    """Tell whether a statement stays at the top: the docstring, and what is from `__future__`."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_text or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__")


def _with_their_imports(
    parts: dict[str, Part], module: Module
) -> tuple[dict[str, Part], list[ast.stmt]]:
    """Return parts that bring what they import, under names of their own.

    An editor may have removed an import that only the reference needs; and one that the learner
    has forgotten must still be missed.
    """
    own = {name: _copy(part) for name, part in parts.items()}
    used = [each for part in own.values() for each in ast.walk(part) if isinstance(each, ast.Name)]
    imports: list[ast.stmt] = []
    for statement in module.imports:
        for alias in statement.names:
            name = alias.asname or alias.name
            if mentions := [each for each in used if each.id == name]:
                renamed = ast.alias(alias.name, f"_the_references_{name}")
                imports.append(
                    ast.ImportFrom(statement.module, [renamed], statement.level)
                    if isinstance(statement, ast.ImportFrom)
                    else ast.Import([renamed])
                )
                for each in mentions:
                    each.id = renamed.asname or name
    return own, imports


class _Swapper(ast.NodeTransformer):
    """Puts parts in the place of others, at the lines where those begin."""

    def __init__(self, parts: dict[str, Part], noted: Collection[str]) -> None:
        self._parts = parts
        self._noted = noted

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        name = ast.unparse(node.targets[0])
        return _at(node, self._parts[name]) if name in self._parts else node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        if node.name not in self._parts:
            self.generic_visit(node)
            return node
        part = self._parts[node.name]
        if node.name in self._noted and isinstance(part, FUNCTIONS):
            _note(part)
        return _at(node, part)

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815


def _note(part: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    call = ast.parse(f"{NOTE}({part.name!r})").body[0]
    part.body.insert(1 if ast.get_docstring(part) else 0, _at(part, call))


def _parts(tree: ast.Module) -> Iterator[tuple[str, Part]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node
    for node in _statements(tree):
        if isinstance(node, FUNCTIONS):
            yield node.name, node


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Return what can hold a function. There are ten times as many expressions, which cannot."""
    for each in ast.iter_child_nodes(node):
        if not isinstance(each, ast.expr):
            yield each
            yield from _statements(each)


def _inner_and_outer(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for outer in _statements(tree):
        for inner in _statements(outer) if isinstance(outer, FUNCTIONS) else ():
            if isinstance(inner, FUNCTIONS) and isinstance(outer, FUNCTIONS):
                yield inner.name, outer.name


def _text(part: Part) -> str:
    """Return what a part says by itself: no comments, no docstring, no functions inside."""
    part = _copy(part)
    for each in ast.walk(part):
        if isinstance(each, FUNCTIONS) and each is not part:
            each.body = [ast.Pass()]
        elif isinstance(each, FUNCTIONS) and ast.get_docstring(each) and len(each.body) > 1:
            del each.body[0]
    return ast.unparse(part)


def _copy(part: Part) -> Part:
    copy = ast.parse(ast.unparse(part)).body[0]
    assert isinstance(copy, Part)
    return copy


def _at(place: ast.stmt, part: ast.stmt) -> ast.stmt:
    """Give a part the line where it is put, so that what goes wrong in it is found there."""
    for node in ast.walk(part):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = place.lineno  # type: ignore[attr-defined]
            node.col_offset = node.end_col_offset = 0  # type: ignore[attr-defined]
    return part
