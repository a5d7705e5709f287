"""The small words that are easily forgotten: `return`, `await`, `raise`.

A function of the learner's is read beside what the names in it mean. No reference is needed, so a
copy of the workbook without answers can ask as well.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

Function = ast.FunctionDef | ast.AsyncFunctionDef
RUN_LATER = {"create_task", "ensure_future", "gather", "shield", "wait_for", "wait"}
RUN_LATER |= {"as_completed", "run_coroutine_threadsafe"}  # they take coroutines
PUT_IN = {"append", "appendleft", "add", "extend", "insert", "put_nowait"}
GIVE_BACK = {"pop", "popleft", "values", "items", "get_nowait", "copy"}
HAND_ON = {"list", "tuple", "set", "dict", "iter", "enumerate", "zip", "reversed", "sorted", "next"}


def slips(part: ast.stmt, names: Mapping[str, Any]) -> list[str]:
    """Return a question for each word that seems to be missing in a function.

    `names` are those of its module, with what they stand for.
    """
    if not isinstance(part, Function):
        return []
    by_line: dict[str, str] = {}  # one question a line: whoever answers it sees the next
    for question in (*_awaits(part, names), *_raises(part, names), *_returns(part)):
        by_line.setdefault(question.partition(":")[0], question)
    return list(by_line.values())


def _awaits(part: Function, names: Mapping[str, Any]) -> Iterator[str]:
    uses = Uses(part, names)
    for node in ast.walk(part):
        if isinstance(node, ast.Call) and not uses.are_awaited(node):
            called = _meant(node.func, part, names)
            if inspect.iscoroutinefunction(called):
                what = ast.unparse(node.func)
                yield f"Line {node.lineno}: is an `await` missing before {what}(...)?"


class Uses:
    """What becomes of a coroutine in a function: awaited, handed on to who awaits it, or nothing.

    It may be awaited on another line, out of a list, by a task or by a function that takes one.
    """

    def __init__(self, part: Function, names: Mapping[str, Any]) -> None:
        self._part, self._names = part, names
        self._above = {
            child: node for node in ast.walk(part) for child in ast.iter_child_nodes(node)
        }
        self._named: dict[str, list[ast.expr]] = {}
        for node in ast.walk(part):
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                self._named.setdefault(ast.unparse(node), []).append(node)

    def are_awaited(self, node: ast.AST, known: frozenset[str] = frozenset()) -> bool:
        """Tell whether the value of a node comes to an `await`; `known` are names it had before."""
        above = self._above.get(node)
        match above:
            case ast.Await() | ast.Lambda():
                return True
            case ast.Return() | ast.Yield():
                return self._is_of_a_plain_function_inside(above)
            case ast.Assign(targets=targets):
                return self._by_name(targets, known)
            case ast.NamedExpr(target=target):
                return self._by_name([target], known) or self.are_awaited(above, known)
            case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
                return self._by_name([target], known)
            case ast.For(target=target) | ast.comprehension(target=target) if node is above.iter:
                return self._by_name([target], known)
            case ast.Call(func=func) if node is not func:
                return self._takes_one(above, known)
            case ast.Attribute(attr=attr) if known and attr in GIVE_BACK:
                return self.are_awaited(self._above[above], known)
            case ast.Subscript(value=value) if known and node is value:
                return self.are_awaited(above, known)
            case ast.IfExp(test=test) if node is not test:
                return self.are_awaited(above, known)
            case ast.DictComp(value=value) if node is value:
                return self.are_awaited(above, known)
            case ast.ListComp(elt=elt) | ast.SetComp(elt=elt) | ast.GeneratorExp(elt=elt):
                return node is elt and self.are_awaited(above, known)
            case ast.Starred() | ast.keyword() | ast.List() | ast.Tuple() | ast.Set() | ast.Dict():
                return self.are_awaited(above, known)
        return False

    def _by_name(self, targets: list[ast.expr], known: frozenset[str]) -> bool:
        names = {name for target in targets for name in _names_in(target)} - known
        uses = [use for name in names for use in self._named.get(name, [])]
        return any(self.are_awaited(use, known | names) for use in uses)

    def _takes_one(self, call: ast.Call, known: frozenset[str]) -> bool:
        owner, _, name = ast.unparse(call.func).rpartition(".")
        if name in RUN_LATER:
            return True
        if owner and name in PUT_IN:
            return self._by_name([ast.parse(owner, mode="eval").body], known)
        if not owner and name in HAND_ON:
            return self.are_awaited(call, known)
        if any(isinstance(each, Function) and each.name == name for each in self._above):
            return True
        called = _meant(call.func, self._part, self._names)
        hints = getattr(called, "__annotations__", {})
        if not hints and inspect.isfunction(called):
            return True  # the learner's own; nobody knows what it takes
        return re.search("Awaitable|Coroutine|Future", str(hints)) is not None

    def _is_of_a_plain_function_inside(self, node: ast.AST) -> bool:
        while node is not self._part and not isinstance(node, Function):
            node = self._above[node]
        return node is not self._part and isinstance(node, ast.FunctionDef)


def _names_in(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _names_in(part)
        case ast.Starred(value=value) | ast.Subscript(value=value):
            yield from _names_in(value)
        case ast.Name() | ast.Attribute():
            yield ast.unparse(target)


def _raises(part: Function, names: Mapping[str, Any]) -> Iterator[str]:
    makes_one = part.returns is not None and _is_error(_meant(part.returns, part, names))
    elsewhere = _of_functions_inside(part)
    for node in ast.walk(part):
        if isinstance(node, ast.Expr):
            made = node.value.func if isinstance(node.value, ast.Call) else node.value
            if _is_error(_meant(made, part, names)):
                yield f"Line {node.lineno}: is a `raise` missing before {ast.unparse(made)}?"
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            made = node.value.func
            if _is_error(_meant(made, part, names)) and not makes_one and node not in elsewhere:
                yield f"Line {node.lineno}: {ast.unparse(made)} is returned. Is `raise` meant?"


def _of_functions_inside(part: Function) -> set[ast.AST]:
    inside = [node for node in ast.walk(part) if isinstance(node, Function) and node is not part]
    return {node for function in inside for node in ast.walk(function)}


def _returns(part: Function) -> Iterator[str]:
    """Ask where a function ends without a value, and where it never returns what it promises."""
    promised = ast.unparse(part.returns) if part.returns else "None"
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(part)):
        return  # it yields what it promises
    given = [node for node in ast.walk(part) if isinstance(node, ast.Return) and node.value]
    is_optional = "None" in promised
    nothing = all(isinstance(node.value, ast.Constant) and not node.value.value for node in given)
    if promised != "None" and _falls_off(part) and (nothing if is_optional else True):
        yield f"Line {part.body[-1].end_lineno}: is a `return` missing after it?"


def _meant(node: ast.expr, part: Function, names: Mapping[str, Any]) -> Any:
    """Return what a name stands for, or what a parameter's class has under it."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        arguments = [*part.args.posonlyargs, *part.args.args, *part.args.kwonlyargs]
        hints = {each.arg: each.annotation for each in arguments}
        if hint := hints.get(node.value.id):
            return getattr(_class_of(hint, names), node.attr, None)
        return getattr(names.get(node.value.id), node.attr, None)
    return None


def _class_of(hint: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return the class in a hint, which may stand in `Annotated` or have a name of its own."""
    if isinstance(hint, ast.Subscript) and ast.unparse(hint.value) == "Annotated":
        assert isinstance(hint.slice, ast.Tuple)
        hint = hint.slice.elts[0]
    kind = names.get(hint.id) if isinstance(hint, ast.Name) else None
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _is_error(value: Any) -> bool:
    """Tell whether this is an exception, or a function that makes one."""
    made = getattr(value, "__annotations__", {}).get("return", value)
    return isinstance(made, type) and issubclass(made, Exception)


def _falls_off(statement: ast.stmt) -> bool:
    """Tell whether a function is left below this statement, without a `return`.

    One that ends in `if ...: return value` is not: its author may have meant the None.
    """
    match statement:
        case ast.Return() | ast.Raise():
            return False
        case ast.While(test=ast.Constant(value=True)):
            return any(isinstance(node, ast.Break) for node in ast.walk(statement))
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.With() | ast.AsyncWith():
            return _falls_off(statement.body[-1])
        case ast.If(body=[*_, ast.Return(value=ast.expr())], orelse=[]):
            return False
        case ast.For() | ast.AsyncFor() | ast.While():
            ends = statement.orelse  # of a loop, unless it breaks
            breaks = any(isinstance(node, ast.Break) for node in ast.walk(statement))
            return breaks or not ends or _falls_off(ends[-1])
        case ast.If():
            branches = [statement.body, statement.orelse]
            return any(not branch or _falls_off(branch[-1]) for branch in branches)
        case ast.Try():
            tried = [statement.orelse or statement.body, *(e.body for e in statement.handlers)]
            return any(_falls_off(end[-1]) for end in tried)
        case ast.Match():
            return any(_falls_off(case.body[-1]) for case in statement.cases)
    return True
