"""Sees each test of a hand-in run, beside pytest's own report, which the hand-in could change.

It calls the test's function itself, as it was before the hand-in was loaded, and says at once that
it came to its end. After each test it looks whether pytest, the harness and the tests are still
what they were. That is no proof: a hand-in in the same process could imitate it.
"""

import builtins
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

GRADERS = frozenset(
    [
        "lessons",
        "conftest",
        "pytest",
        "_pytest",
        "pluggy",
        "json",
        "jwt",
        "base64",
        "hmac",
        "secrets",
        "re",
        "contextlib",
    ]
)
LONGEST = 300  # letters of a sentence; a pipe takes a short line whole
PARTS = ("__code__", "__defaults__", "__kwdefaults__", "__wrapped__", "fget")

Say = Callable[[dict[str, Any]], None]
Piece = tuple[str, Any, str, Any]  # its name, the owner, the attribute, the value


class Witness:
    """A plugin for pytest. `say` takes what it has seen to where the hand-in can't reach."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._tests: dict[str, Callable[..., Any]] = {}
        self._pieces: list[Piece] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note all tests, while nothing of the hand-in was loaded yet."""
        self._tests = {item.nodeid: item.obj for item in session.items}
        self._pieces = [*pieces()]
        self._say({"tests": {item.nodeid: is_attack(item) for item in session.items}})

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Call the test, in the place of pytest."""
        function = self._tests[pyfuncitem.nodeid]
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        function(**{name: pyfuncitem.funcargs[name] for name in names})
        if changed := next(filter(is_changed, self._pieces), None):
            self._say({"changed": changed[0]})
        else:
            self._say({"ran": pyfuncitem.nodeid})
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say which verdict the harness gave."""
        if report.when == "teardown":
            properties = [(name, str(value)[:LONGEST]) for name, value in report.user_properties]
            self._say({"test": report.nodeid, "properties": properties})


def is_attack(item: pytest.Item) -> bool:
    return item.get_closest_marker("attack") is not None


def pieces() -> Iterator[Piece]:
    """Yield the functions and classes that grade, and what they consist of."""
    modules = [each for name, each in sys.modules.items() if name.partition(".")[0] in GRADERS]
    for module in [builtins, *modules]:
        for name, value in list(vars(module).items()):
            if not callable(value):
                continue
            yield f"{module.__name__}.{name}", module, name, value
            is_own = getattr(value, "__module__", None) == module.__name__
            if is_own:
                yield from parts(f"{module.__name__}.{name}", value)
            if is_own and isinstance(value, type):
                for member, part in list(vars(value).items()):
                    yield f"{module.__name__}.{name}.{member}", value, member, part
                    yield from parts(f"{module.__name__}.{name}.{member}", part)


def parts(name: str, function: Any) -> Iterator[Piece]:
    """Yield what makes a function do what it does."""
    for part in PARTS:
        if (value := getattr(function, part, None)) is not None:
            yield name, function, part, value


def is_changed(piece: Piece) -> bool:
    """Tell whether something else stands in a piece's place."""
    _, owner, attribute, value = piece
    return getattr_static(owner, attribute) is not value


def getattr_static(owner: Any, attribute: str) -> Any:
    """Return an attribute as it is kept: no property or method is called on the way."""
    try:
        return vars(owner)[attribute]
    except (KeyError, TypeError):
        return getattr(owner, attribute, None)
