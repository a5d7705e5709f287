"""The small words that are easily forgotten: `return`, `await`, `raise`.

A part of the learner's file is read beside the reference's. Nothing is run, and nothing is said
that the reference does not do.
"""

import ast
from collections.abc import Iterator

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def slips(part: ast.stmt, reference: ast.stmt) -> list[str]:
    """Return a question for each word that seems to be missing in `part`."""
    return [*_forgotten_awaits(part, reference), *_forgotten_raises(part, reference)] + (
        [f"Line {_last(part).end_lineno}: is a `return` missing after it?"]
        if _falls_off(part) and not _falls_off(reference)
        else []
    )


def _forgotten_awaits(part: ast.stmt, reference: ast.stmt) -> Iterator[str]:
    awaited = {id(node.value) for node in ast.walk(part) if isinstance(node, ast.Await)}
    to_await = {
        _called(node.value)
        for node in ast.walk(reference)
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call)
    }
    for node in ast.walk(part):
        if isinstance(node, ast.Call) and id(node) not in awaited and _called(node) in to_await:
            yield f"Line {node.lineno}: is an `await` missing before {_called(node)}(...)?"


def _forgotten_raises(part: ast.stmt, reference: ast.stmt) -> Iterator[str]:
    to_raise = {_name(node.exc) for node in ast.walk(reference) if isinstance(node, ast.Raise)}
    for node in ast.walk(part):
        if isinstance(node, ast.Expr) and _name(node.value) in to_raise - {""}:
            yield f"Line {node.lineno}: is a `raise` missing before {_name(node.value)}?"


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _name(raised: ast.expr | None) -> str:
    if isinstance(raised, ast.Call):
        return _called(raised)
    return ast.unparse(raised) if isinstance(raised, ast.Name) else ""


def _last(part: ast.stmt) -> ast.stmt:
    return part.body[-1] if isinstance(part, FUNCTIONS) else part


def _falls_off(statement: ast.stmt) -> bool:
    """Tell whether what follows a statement is reached, for a function: whether its end is."""
    match statement:
        case ast.Return() | ast.Raise():
            return False
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.With() | ast.AsyncWith():
            return _falls_off(statement.body[-1])
        case ast.If() | ast.For() | ast.AsyncFor() | ast.While():
            branches = [statement.body, statement.orelse]
            return any(not branch or _falls_off(branch[-1]) for branch in branches)
        case ast.Try():
            ends = [statement.orelse or statement.body, *(each.body for each in statement.handlers)]
            return any(_falls_off(end[-1]) for end in ends)
        case ast.Match():
            return any(_falls_off(case.body[-1]) for case in statement.cases)
    return True
