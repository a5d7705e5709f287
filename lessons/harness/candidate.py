"""Loads the file that is graded in the place of `solutions.<slug>`.

So its imports, absolute or relative, mean the reference for every other step.
"""

import ast
import builtins
import importlib
import inspect
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cache, cached_property, wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from lessons.harness.catalogue import ROOT, Lesson, find_lessons, lesson_of, shown
from lessons.harness.composite import FUNCTIONS, NOTE, Module, Todo, find_todos
from lessons.harness.encoding import fault_of
from lessons.harness.escapes import contained, named
from lessons.harness.late_apps import late_apps
from lessons.harness.output import kept_output
from lessons.harness.stores import unwrapped
from lessons.harness.transcript import Transcript, show
from lessons.harness.verdicts import BrokenCandidate, Unwritten

# What a module may read on import. Another value needs a module of its own.
SETTINGS = (
    "ENVIRONMENT",
    "JWT_SECRET",
    "JWT_ALGORITHM",
    "JWT_ISSUER",
    "JWT_AUDIENCE",
    "ACCESS_TOKEN_EXPIRE_MINUTES",
    "REFRESH_TOKEN_EXPIRE_DAYS",
    "BCRYPT_ROUNDS",
    "PASSWORD_MIN_LENGTH",
    "MAX_BODY_BYTES",
    "PUBLIC_URL",
    "SESSION_IDLE_MINUTES",
    "SESSION_HOURS",
    "OIDC_ISSUER",
    "OIDC_CLIENT_ID",
    "OIDC_CLIENT_SECRET",
    "GOOGLE_CLIENT_ID",
    "GOOGLE_CLIENT_SECRET",
    "GITHUB_CLIENT_ID",
    "GITHUB_CLIENT_SECRET",
    "TRUSTED_PROXIES",
    "ALLOWED_HOSTS",
    "CORS_ORIGINS",
    "LIMITS_URL",
    "ATTEMPTS_PER_LOGIN",
    "ATTEMPTS_PER_ADDRESS",
    "ATTEMPTS_PER_NAME",
    "ATTEMPTS_MINUTES",
    "FORWARDED_ALLOW_IPS",
    "SIGNING_KEYS_DIR",
    "DATABASE_URL",
)


SEAM = "solutions.support.token_service"
_CACHED = type(cache(str))  # what lru_cache returns; functools has no name for it


class _FreshLoader(SourceFileLoader):
    """Compiles the text each time: cached byte code goes stale after two quick edits."""

    def get_code(self, fullname: str) -> CodeType:
        if fullname in _in_place.codes:
            return _in_place.codes[fullname]
        return compile(self.get_data(self.path), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, NOTE, _entered.add)
        super().exec_module(module)


class _InPlace(MetaPathFinder):
    """Finds chosen files under the names of the modules whose place they take."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.codes: dict[str, CodeType] = {}  # of those that are not loaded as they are

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name not in self.files:
            return None
        file = str(self.files[name])
        return spec_from_file_location(name, file, loader=_FreshLoader(name, file))


_entered: set[str] = set()  # the noted parts that the present test came through
_in_place = _InPlace()
sys.meta_path.insert(0, _in_place)


class Candidate:
    """The graded file of one lesson, and the modules that it brings along."""

    def __init__(self, lesson: Lesson, file: Path, mine: bool = False) -> None:
        self.lesson = lesson
        self.file = file
        self._files = {lesson.module: file}
        for earlier in find_lessons():
            # Without references, as in a copy handed out by a teacher, the learner's own serve.
            own = mine or not earlier.reference.exists()
            if own and earlier.number < lesson.number:
                self._files[earlier.module] = earlier.starter
        self.swapped: tuple[str, ...] = ()  # finished parts that the reference's stand in for
        self._settings: object = None
        self._loaded: dict[object, tuple[dict[str, ModuleType], object]] = {}

    @property
    def shown(self) -> str:
        """The file's path as the learner would type it."""
        return shown(self.file)

    @property
    def entered(self) -> set[str]:
        """The parts that the present test came through: open TODOs; without a reference, others."""
        return _entered

    @cached_property
    def module(self) -> Module | None:
        """The graded file by its parts; None when it cannot be read as Python."""
        try:
            return Module(self.file.read_bytes(), str(self.file))
        except (OSError, SyntaxError, ValueError):
            return None

    @cached_property
    def reference(self) -> Module | None:
        """The reference by its parts; None in a copy of the workbook that has none."""
        if not self.lesson.reference.exists():
            return None
        return Module(self.lesson.reference.read_bytes(), str(self.lesson.reference))

    @cached_property
    def starter(self) -> Module:
        """The lesson's starter by its parts."""
        given = self.lesson.kept_starter
        return Module(given.read_bytes(), str(given))

    @cached_property
    def open_todos(self) -> tuple[Todo, ...]:
        """The TODOs of which nothing is written yet."""
        if self.module is None or self.file in (self.lesson.reference, self.lesson.naive):
            return ()
        todos, module = find_todos(self.lesson), self.module
        return tuple(each for each in todos if module.is_open(each, self.starter))

    @property
    def names(self) -> dict[str, Any]:
        """What the names in the graded file stand for."""
        return vars(builtins) | vars(self.load())

    @property
    def declarations(self) -> set[str]:
        """The parts that are no functions."""
        parts = self.module.parts if self.module else {}
        return {name for name in parts if not isinstance(parts[name], FUNCTIONS)}

    @property
    def todos_to_write(self) -> list[Todo]:
        """The TODOs that are open, and those of which a part is written."""
        if self.module is None:
            return []
        open_todos, module = self.open_todos, self.module
        todos = find_todos(self.lesson)
        return [each for each in todos if each in open_todos or not module.is_written(each)]

    @cached_property
    def suspects(self) -> list[str]:
        """The written parts that may be at fault, the TODOs first.

        They differ from the reference's; where there is none, they are TODOs, or differ from the
        starter's.
        """
        if self.module is None:
            return []
        todos = [todo.name for todo in find_todos(self.lesson)]
        differing = self.module.differing(self.reference or self.starter)
        may_be = {self.module.known_to(self.starter, name) for name in differing}
        if self.reference is None:
            may_be |= set(todos) & set(self.module.parts)
        parts = self.module.parts
        may_be -= {
            todo.name
            for todo in self.open_todos
            # One without a reference in its place works as it was given: wrong.
            if self.reference is not None or isinstance(parts[todo.name], FUNCTIONS)
        }
        lines = {name: self.module.line_of(name) or 0 for name in may_be}
        return [name for name in todos if name in may_be] + sorted(
            may_be - set(todos), key=lines.__getitem__
        )

    @contextmanager
    def with_reference_for(self, *names: str) -> Iterator[None]:
        """Let the reference's parts stand in for some finished ones in the block."""
        self._loaded.clear()
        self._settings, self.swapped = None, names
        try:
            yield
        finally:
            self._loaded.clear()
            self._settings, self.swapped = None, ()

    @property
    def files(self) -> set[Path]:
        """The graded files."""
        return set(self._files.values())

    @property
    def earlier(self) -> list[Lesson]:
        """The earlier lessons whose files, the learner's own, the graded one has imported."""
        used = {name for name in _steps() if name in self._files} - {self.lesson.module}
        return [each for each in find_lessons() if each.module in used]

    @property
    def sources(self) -> str:
        """The text of the graded files."""
        files = (file for file in self._files.values() if file.exists())
        return " ".join(file.read_text("utf-8", errors="replace") for file in files)

    @property
    def loaded(self) -> ModuleType:
        """The module, which load() has loaded. It asks for the settings, which takes its time."""
        return sys.modules[self.lesson.module]

    def load(self) -> ModuleType:
        """Load the file under the present settings, which it may read, unless it is loaded."""
        settings = tuple(os.environ.get(name) for name in SETTINGS)
        module = sys.modules.get(self.lesson.module)
        if module is None or module.__file__ != str(self.file) or settings != self._settings:
            self._forget_steps()
            self._settings = settings
            if settings in self._loaded:
                _bring_back(self._loaded[settings][0])
            else:
                self._import()
                self._loaded[settings] = _steps(), self._states(_steps())
            module = sys.modules[self.lesson.module]
        return module

    def renew(self) -> None:
        """Drop what a test has left something behind in. Call it before each test."""
        _entered.clear()
        for settings, (steps, clean) in list(self._loaded.items()):
            if self._states(steps) != clean:
                del self._loaded[settings]
                self._settings = None

    def _forget_steps(self) -> None:
        """Forget the graded modules, and all that may stand on one: the references below stay."""
        package = importlib.import_module("solutions")
        lowest = min(each.number for each in find_lessons() if each.module in self._files)
        below = {each.module for each in find_lessons() if each.number < lowest}
        for name, module in _steps().items():
            if name in below and not isinstance(module.__loader__, _FreshLoader):
                continue
            del sys.modules[name]
            vars(package).pop(name.partition(".")[2], None)

    def _states(self, steps: dict[str, ModuleType]) -> list[object]:
        return [_state(steps[name]) for name in self._files if name in steps]

    def _import(self) -> None:
        _in_place.files = self._files
        _in_place.codes = self._composed()
        self._refuse_nothing(self.file)
        for file in self._files.values():
            if file.exists() and (fault := fault_of(file.read_bytes())):
                raise BrokenCandidate(f"{shown(file)} {fault}")
        try:
            with contained(), kept_output(), late_apps(self._files):
                importlib.import_module(self.lesson.module)
                if SEAM in sys.modules:  # it asks for lesson 02 late; what is wrong is said now
                    importlib.import_module("solutions.tokens")
        except SyntaxError as error:
            where = f"{shown(Path(error.filename or '?'))}:{error.lineno}"
            raise BrokenCandidate(f"{where} does not parse: {error.msg}.") from None
        except Exception as error:
            for file in self.files:
                self._refuse_nothing(file)
            where = self.line_of(error) or self.shown
            raise BrokenCandidate(f"{where} fails on import: {_told(error)}") from None

    def _composed(self) -> dict[str, CodeType]:
        """Return the module with the reference's part for each open TODO, if there is any.

        Without a reference: the module as it is, noting which of its parts ran.
        """
        noted = [todo.name for todo in self.open_todos]
        names = [*noted, *self.swapped]
        if self.module is None or not (names or not self.lesson.reference.exists()):
            return {}
        if self.reference is None:
            return {self.lesson.module: self.module.noting([*noted, *self.suspects])}
        return {self.lesson.module: self.module.with_parts_of(self.reference, names, noted)}

    def _refuse_nothing(self, file: Path) -> None:
        """Raise BrokenCandidate for a file that is not there, or empty."""
        if not file.exists():
            raise BrokenCandidate(f"There is no {shown(file)} in this copy of the workbook.")
        if not file.read_bytes().strip():
            lesson = lesson_of(file) or self.lesson
            reset = f"`pytest lessons/{lesson.number} --reset` brings the starter back."
            raise BrokenCandidate(f"{shown(file)} is empty. {reset}")

    def signature(self, name: str) -> str:
        """Return the `def` line that the lesson gives for a function."""
        given = self.lesson.reference if self.lesson.reference.exists() else self.lesson.naive
        for node in ast.parse(given.read_bytes()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
                kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
                return f"{kind} {name}({ast.unparse(node.args)}){returns}"
        return name

    def line_of(self, error: BaseException) -> str | None:
        """Return the last line of the graded files that an exception came through."""
        return _last_line_in(named(error), self.files)

    def part_at(self, message: str) -> str | None:
        """Return the part of the graded file in which the line lies that a message blames."""
        at = re.search(rf"{re.escape(self.shown)}:(\d+)(?:\)|$)", message)
        if at is None or self.module is None:
            return None
        lines = {name: self.module.line_of(name) or 0 for name in self.module.parts}
        above = [name for name, line in lines.items() if line <= int(at[1])]
        part = max(above, key=lines.__getitem__, default=None)
        return part and self.module.known_to(self.starter, part)

    def unfinished(self, error: BaseException) -> Exception:
        """Return what a NotImplementedError means: a TODO here, or in an earlier lesson."""
        where = _last_line_in(error, self.files) or ""  # lessons call each other in both ways
        if not where or where.startswith(f"{self.shown}:"):
            return Unwritten(str(error), {int(n) for n in re.findall(r"TODO (\d+)", str(error))})
        return BrokenCandidate(f"{where} is not done yet ({error}). Finish that lesson first.")


class Recorded:
    """The candidate's functions, each call noted in the transcript."""

    def __init__(
        self,
        candidate: Candidate,
        transcript: Transcript,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        self._candidate = candidate
        self._transcript = transcript
        self._run = run
        self._made: dict[str, tuple[Any, Callable[..., Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            value = getattr(self._candidate.loaded, name)
        except AttributeError:
            raise BrokenCandidate(
                f"{self._candidate.shown} has no `{name}`, and the lesson needs it. "
                f"Put back `{self._candidate.signature(name)}`."
            ) from None
        if name in self._made and self._made[name][0] is value:
            return self._made[name][1]
        own = type(value).__module__ == self._candidate.lesson.module  # an object that is called
        is_function = inspect.isroutine(value) or hasattr(value, "cache_info") or own
        if inspect.isclass(value) or not (is_function and callable(value)):
            return value
        self._made[name] = value, self._recorded(name, value)
        return self._made[name][1]

    def _recorded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        sizes = _sizes(signature)
        runs_later = inspect.iscoroutinefunction(function)  # to call it runs none of its lines

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            args = tuple(map(unwrapped, args))
            kwargs = {key: unwrapped(kwargs[key]) for key in kwargs}
            try:
                if kwargs or len(args) not in sizes:
                    signature.bind(*args, **kwargs)
            except TypeError as error:
                raise BrokenCandidate(
                    f"{self._candidate.shown}: {name}{signature} does not fit "
                    f"({error}). The lesson calls `{self._candidate.signature(name)}`."
                ) from None
            try:
                if runs_later:
                    result = function(*args, **kwargs)
                else:
                    with contained(), kept_output():
                        result = function(*args, **kwargs)
                if inspect.iscoroutine(result):
                    result = self._run(result)
            except NotImplementedError as error:
                raise self._candidate.unfinished(error) from None
            except Exception as error:
                where = self._candidate.line_of(error)
                error.add_note(_crash_at(error, where))
                end = f"raises {type(named(error)).__name__} at {where}{_hidden_cause(error)}"
                self._transcript.call(name, args, kwargs, end)
                raise
            self._transcript.call(name, args, kwargs, show(result))
            return result

        return call


def _sizes(signature: inspect.Signature) -> range:
    """Return how many arguments fit if none is named: to bind them takes longer than to count."""
    kinds = {each.kind for each in signature.parameters.values()}
    if not kinds <= {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}:
        return range(0)
    needed = [each for each in signature.parameters.values() if each.default is each.empty]
    return range(len(needed), len(signature.parameters) + 1)


def _hidden_cause(error: BaseException) -> str:
    # `from None` hides what the candidate's own `except` caught. Here it is the best hint.
    cause = named(error).__context__
    return f", because of {_told(cause)}" if cause else ""


def crash_line(error: BaseException, candidate: Candidate) -> str:
    """Return the exception and the line of the candidate's file that it came through.

    Where it came through one of an earlier lesson's, that line too, and which line here led there.
    """
    origin = named(error)
    here, where = _last_line_in(origin, {candidate.file}), candidate.line_of(error)
    return _crash_at(error, f"{where}, {here}" if here and here != where else where)


def _crash_at(error: BaseException, where: str | None) -> str:
    line = _told(error) + (f" ({where})" if where else "")
    return line + (". Is an `await` missing?" if "coroutine" in line else "")


def refusal_line(error: BaseException, candidate: Candidate) -> str:
    """Return where the candidate's file raised a refusal, and what had gone wrong there before.

    A missing `await` below `except Exception` is a refusal like every other one.
    """
    where = candidate.line_of(error)
    if where is None:
        return ""
    cause = error.__cause__ or error.__context__
    if cause is None or candidate.line_of(cause) is None:
        return f"was raised at {where}"
    return f"was raised at {where}, because of {crash_line(cause, candidate)}"


def clear_caches() -> None:
    """Forget what the cached factories keep: stores, contexts, settings."""
    for _, _, factory in _factories():
        factory.cache_clear()


def clear_state() -> None:
    """Forget what a test may have changed: the stores, and all that the graded files keep.

    Contexts and the like of the workbook's own modules stay. To make them anew costs time.
    """
    for is_given, name, factory in _factories():
        if name.startswith("open_") or not is_given:
            factory.cache_clear()


def _factories() -> Iterator[tuple[bool, str, Any]]:
    for name in [name for name in sys.modules if name.startswith("solutions.")]:
        yield from _factories_of(sys.modules[name])


@cache  # this is asked before each test
def _factories_of(module: ModuleType) -> list[tuple[bool, str, Any]]:
    """Return a module's cached factories: whether the workbook gives it, their names, and they."""
    is_given = Path(module.__file__ or "").is_relative_to(ROOT / "solutions")
    return [
        (is_given, name, value)
        for name, value in vars(module).items()
        if isinstance(value, _CACHED) and value.__module__ == module.__name__
    ]


def _steps() -> dict[str, ModuleType]:
    """Return the loaded modules of all steps."""
    names = (lesson.module for lesson in find_lessons())
    return {name: sys.modules[name] for name in names if name in sys.modules}


def _bring_back(steps: dict[str, ModuleType]) -> None:
    for name, module in steps.items():
        sys.modules[name] = module
        setattr(sys.modules["solutions"], name.partition(".")[2], module)
    clear_state()


def _state(module: ModuleType) -> object:
    """Fingerprint what tests can leave behind in a module: its globals, containers by content."""
    return {
        name: _mark(value, module.__name__)
        for name, value in vars(module).items()
        if name != "__builtins__"  # a long dict, which a module that is loaded anew shares
    }


def _mark(value: Any, owner: str) -> object:
    if isinstance(value, dict | list | set | bytearray | deque):
        return (id(value), repr(value))
    if inspect.isclass(value):
        own = vars(value).values() if value.__module__ == owner else ()
        return (id(value), [repr(each) for each in own if isinstance(each, dict | list | set)])
    if type(value).__module__ == owner:
        return (id(value), repr(getattr(value, "__dict__", None)))
    return id(value)


def _last_line_in(error: BaseException, files: set[Path]) -> str | None:
    names = {str(file) for file in files}  # to compare paths takes longer, and refusals are many
    last, trace = None, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename in names:
            last = trace
        trace = trace.tb_next
    return f"{shown(Path(last.tb_frame.f_code.co_filename))}:{last.tb_lineno}" if last else None


def _told(error: BaseException) -> str:
    """Return the name of what was raised, and what it says."""
    origin = named(error)
    return f"{type(origin).__name__}: {_one_line(origin)}".removesuffix(": ")


def _one_line(error: BaseException) -> str:
    lines = str(error).split("\n")
    # Pydantic and FastAPI say on the next two lines which field it was.
    return " ".join(line.strip() for line in lines[: 3 if "validation error" in lines[0] else 1])
