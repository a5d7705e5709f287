"""Sees each test of a hand-in run, beside pytest's own report, which the hand-in could change.

It calls the test's function itself, as it was before the hand-in was loaded, and says at once that
it came to its end. After each test it looks whether pytest, the harness and the tests are still
what they were. That is no proof: a hand-in in the same process could imitate it.
"""

import builtins
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

GRADERS = ("__main__", "lessons", "conftest", "pytest", "_pytest", "pluggy")
USED = ("base64", "contextlib", "hmac", "json", "jwt", "re", "secrets")  # by the tests, to judge
NAMES = {name for name in vars(builtins) if not name.startswith("_")}
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
        self._loose: dict[str, Any] = {}
        self._modules: list[ModuleType] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note all tests, while nothing of the hand-in was loaded yet."""
        tests = [each for each in session.items if isinstance(each, pytest.Function)]
        self._tests = {test.nodeid: test.obj for test in tests}
        self._pieces = [*pieces()]
        self._modules = modules("lessons", "conftest")
        self._loose = loose(session, self._modules)
        self._say({"tests": {item.nodeid: is_attack(item) for item in session.items}})

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Call the test, in the place of pytest."""
        function = self._tests[pyfuncitem.nodeid]
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        function(**{name: pyfuncitem.funcargs[name] for name in names})
        if changed := self._changed(pyfuncitem.session):
            self._say({"changed": changed})
        else:
            self._say({"ran": pyfuncitem.nodeid})
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say which verdict the harness gave."""
        if report.when == "teardown":
            properties = [(name, str(value)[:LONGEST]) for name, value in report.user_properties]
            self._say({"test": report.nodeid, "properties": properties})

    def _changed(self, session: pytest.Session) -> str | None:
        """Return the name of something that is not what it was."""
        now = loose(session, self._modules)
        names = [piece[0] for piece in self._pieces if is_changed(piece)]
        names += [name for name, value in self._loose.items() if now[name] != value]
        return next(iter(names), None)


def is_attack(item: pytest.Item) -> bool:
    return item.get_closest_marker("attack") is not None


def modules(*packages: str) -> list[ModuleType]:
    """Return the loaded modules of some packages."""
    return [each for name, each in sys.modules.items() if name.partition(".")[0] in packages]


def loose(session: pytest.Session, ours: list[ModuleType]) -> dict[str, Any]:
    """Return what else grades: what a run registers, and names that hide built-in ones."""
    hooks = vars(session.config.hook).values()
    infos = [each._fixtureinfo for each in session.items if isinstance(each, pytest.Function)]
    known = [fixtures for info in infos for fixtures in info.name2fixturedefs.values()]
    return {
        "pytest's hooks": [caller.get_hookimpls() for caller in hooks if hasattr(caller, "spec")],
        "the fixtures": [(each, each.func) for fixtures in known for each in fixtures],
        "built-in names": [NAMES & vars(each).keys() for each in ours],
        "sys.settrace": sys.gettrace(),
    }


def pieces() -> Iterator[Piece]:
    """Yield the functions and classes that grade, and what they consist of."""
    for module in [builtins, *modules(*GRADERS, *USED)]:
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
    return kept_in(owner, attribute) is not value


def kept_in(owner: Any, attribute: str) -> Any:
    """Return an attribute as it is kept: no property or method is called on the way."""
    try:
        return vars(owner)[attribute]
    except (KeyError, TypeError):
        return getattr(owner, attribute, None)
