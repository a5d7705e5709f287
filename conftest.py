"""The workbook's command line: `pytest lessons/03`, and whose code it grades."""

import atexit
import gc
import os
import re
import shlex
import sys
from argparse import SUPPRESS
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lessons.harness.catalogue import (
    LESSONS,
    ROOT,
    Lesson,
    UnknownLesson,
    expand,
    find_lessons,
    lesson_of,
)

gc.disable()  # a run is over before collecting garbage pays; it cost a fifth of the time
atexit.register(gc.freeze)  # nor at its end, where all goes anyway: another fifth

# No plug-in is loaded by itself, to stay quick. pytest would only say "unrecognized arguments".
NOT_LOADED = {
    "xdist": ("-n", "--numprocesses", "--dist"),
    "pytest_cov": ("--cov", "--cov-report"),
}
OWN_TESTS = ROOT / "tests"  # a hand-out has none
YOUR_APP = LESSONS / "your_app"
YOUR_APP_NEEDS = ("fastapi", "httpx2", "time_machine")
YOUR_APP_OPTIONS = ("app", "app_dir", "url", "description", "report")
CHOICES = ("solutions", "naive", "mine", "candidate")
OLDEST = (8, 4)  # pytest; as its `minversion` this would cost a run three milliseconds
NEEDED = (
    *("fastapi", "httpx2", "jwt", "passlib", "bcrypt", "pydantic_settings", "fastapi_offline"),
    "authlib",
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    group = parser.getgroup("workbook", "whose code the lessons grade (default: yours)")
    group.addoption("--solutions", action="store_true", help="grade the reference solutions")
    group.addoption("--naive", action="store_true", help="attack the errors of many tutorials")
    group.addoption(
        "--mine", action="store_true", help="grade your code on top of your own earlier lessons"
    )
    group.addoption("--candidate", metavar="PATH", help="grade another file: --candidate=PATH")
    group.addoption("--candidate-dir", metavar="PATH", help="grade a folder of students' folders")
    group.addoption("--json", metavar="FILE", help="with --candidate-dir: write the grades there")
    group.addoption(
        "--database", metavar="URL", help="on stores in a database, an empty one: sqlite:///new.db"
    )
    group.addoption("--watch", action="store_true", help="run again at every save, until Ctrl-C")
    # Two options: one that may have a value would take `lessons/03` for it.
    group.addoption(
        "--hint", action="store_const", const="first", help="a hint for the TODO that is next"
    )
    group.addoption(
        "--hint=more", action="store_const", const="more", dest="hint", help="a stronger one"
    )
    group.addoption(
        "--reset", action="store_true", help="bring a lesson's starter back; your file is kept"
    )
    group.addoption(
        "--hunt",
        nargs="?",
        const="all",
        metavar="show",
        help="which wrong solutions your own attacks catch, in hunt.py; --hunt=show: one they miss",
    )
    yours = parser.getgroup(
        "your_app", "the attacks, on an app of yours: lessons/your_app/README.md"
    )
    yours.addoption("--app", metavar="MODULE:APP", help="the app, in this process: shop.main:app")
    yours.addoption("--app-dir", metavar="PATH", help="its folder (default: the current one)")
    yours.addoption("--url", metavar="URL", help="a server on this machine in its place")
    yours.addoption(
        "--description", metavar="FILE", help="where things are in it (default: your_app.toml)"
    )
    yours.addoption(
        "--report",
        metavar="FILE",
        action="append",
        default=[],
        help="write the findings to a .md, .json, .xml (JUnit) or .sarif",
    )
    for plugin, options in NOT_LOADED.items():
        if not pluginmanager.has_plugin(plugin):
            for option in options:  # addoption() would keep `-n` for pytest
                group._addoption(option, nargs="?", const="", dest=plugin, help=SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    here = config.invocation_params.dir
    _check_installed()
    _check_plugins(config.option)
    _check_hunt(config)
    try:
        config.args = [expand(argument, here) for argument in config.args]
    except UnknownLesson as error:
        raise pytest.UsageError(str(error)) from None
    if _means_the_lessons(config):
        config.args = [
            str(LESSONS) if (here / argument).resolve() == ROOT else argument
            for argument in config.args
        ]
    _check_choices(config.option, here)
    _check_help(config)
    if not config.option.help:
        _check_own_tests(_paths(config))
    if getattr(config.option, "numprocesses", None) and any(map(lesson_of, _paths(config))):
        raise pytest.UsageError("A lesson runs in one process, or it has no screen: without -n.")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    option, here = config.option, config.invocation_params.dir
    if _is_about_your_app(config):
        return _attack_your_app(config)
    hunts = option.hunt and not (option.collectonly or option.help)
    if option.watch or option.candidate_dir or option.reset or hunts:
        pytest_configure(config)  # it would come too late
    if option.reset:
        return _reset(config)
    if hunts:
        return _hunt(config)
    if option.watch:
        from lessons.harness.watch import watch, without_watch

        # The runs need the terminal's input, for a debugger. pytest took it away already.
        config.pluginmanager.get_plugin("capturemanager").suspend(in_=True)
        runs = without_watch(config.invocation_params.args)
        return watch(runs, option.candidate, _own_lesson(config))
    if option.candidate_dir:
        from lessons.harness.classroom import grade_class

        report = here / option.json if option.json else None
        return grade_class(here / option.candidate_dir, _paths(config), report)
    if not config.invocation_params.args and hasattr(os, "fork"):  # the workbook's own tests, all
        processes = str((os.cpu_count() or 2) + 1)  # some tests wait
        side_by_side = ("-p", "xdist", "-n", processes, "--dist", "loadfile")
        side_by_side += ("--no-loadscope-reorder",)  # tests/conftest.py has an order
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *side_by_side])  # noqa: S606
    return None


def _is_about_your_app(config: pytest.Config) -> bool:
    """Tell whether an app of the reader's own is attacked."""
    option = config.option
    if option.help:
        return False
    named = [YOUR_APP in (path, *path.parents) for path in _paths(config)]
    asked = any(getattr(option, name) for name in YOUR_APP_OPTIONS)
    if any(named) and not all(named):
        raise pytest.UsageError("lessons/your_app is no lesson: name it alone.")
    if asked and not all(named):
        raise pytest.UsageError("--app and --url are for pytest lessons/your_app.")
    return any(named)


def _attack_your_app(config: pytest.Config) -> int:
    option, here = config.option, config.invocation_params.dir
    if option.collectonly:
        from lessons.harness.your_app.command import list_attacks

        return list_attacks()
    if bool(option.app) == bool(option.url):
        raise pytest.UsageError(
            "Say which app: pytest lessons/your_app --app=shop.main:app, "
            "or --url=http://127.0.0.1:8000 for one that runs."
        )
    if option.app_dir and option.url:
        raise pytest.UsageError("--app-dir goes with --app.")
    if missing := [name for name in YOUR_APP_NEEDS if find_spec(name) is None]:
        raise pytest.UsageError(
            f"{missing[0]} is not installed here. Install the workbook beside your app, as "
            "lessons/your_app/README.md says."
        )
    from lessons.harness.your_app.command import Asked, attack, description_for

    asked = Asked(
        app=option.app,
        url=option.url,
        folder=(here / (option.app_dir or ".")).resolve(),
        description=description_for(option.description, here),
        reports=[(here / each).resolve() for each in option.report],
        only=option.keyword,
        typed=" ".join(["pytest", *map(shlex.quote, config.invocation_params.args)]),
    )
    return attack(asked)


def _means_the_lessons(config: pytest.Config) -> bool:
    """Tell whether the root stands for the lessons alone, as where an editor looks for tests."""
    if OWN_TESTS.exists():
        return not _has_what_own_tests_need()
    return bool(config.option.collectonly)  # whoever types `pytest` in a hand-out is told what to


def _paths(config: pytest.Config) -> list[Path]:
    """Return the files and folders that are named on the command line."""
    here = config.invocation_params.dir
    return [(here / argument.partition("::")[0]).resolve() for argument in config.args]


def _own_lesson(config: pytest.Config) -> Lesson | None:
    """Return the lesson that is named, if it is one alone, and the learner's own file is graded."""
    lessons = {lesson_of(path) for path in _paths(config)}
    others = ("solutions", "naive", "candidate", "candidate_dir")
    is_own = not any(getattr(config.option, name) for name in others)
    return lessons.pop() if len(lessons) == 1 and is_own else None


def _reset(config: pytest.Config) -> int:
    from lessons.harness.reset import CannotReset, Unchanged, reset

    lesson = _own_lesson(config)
    assert lesson
    try:
        print(*reset(lesson), sep="\n")
    except CannotReset as error:
        raise pytest.UsageError(str(error)) from None
    except Unchanged as reason:
        print(reason)
    return 0


def _hunt(config: pytest.Config) -> int:
    lesson = _own_lesson(config)
    assert lesson
    if not OWN_TESTS.exists():
        raise pytest.UsageError(
            "This copy has no wrong solutions: each is nearly the answer. Try your attacks on "
            f"naive.py instead: pytest lessons/{lesson.number}/hunt.py --naive"
        )
    if not hasattr(os, "fork"):
        raise pytest.UsageError("--hunt needs a system that forks: Linux, macOS, or WSL.")
    from tests.hunt import hunt

    return hunt(lesson, int(config.option.hunt.partition(":")[2] or config.option.hunt == "show"))


def _check_installed() -> None:
    if pytest.version_tuple[:2] < OLDEST:
        raise pytest.UsageError(
            f"pytest {pytest.__version__} is too old. Install what is needed as README.md says."
        )
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise pytest.UsageError(
            f"{missing[0]} is not installed here. Activate the workbook's environment first "
            "(. .venv/bin/activate), or install it as README.md says."
        )


def _check_plugins(option: Any) -> None:
    for plugin, (name, *_) in NOT_LOADED.items():
        if getattr(option, plugin, None) is not None:
            raise pytest.UsageError(
                f"{name} needs a plug-in, and none is loaded by itself here, to stay quick: "
                f"pytest -p {plugin} {name} ..."
            )


def _check_hunt(config: pytest.Config) -> None:
    """Give back a path that `--hunt` has taken for its value, in `pytest --hunt lessons/03`."""
    option = config.option
    if not option.hunt or re.fullmatch(r"all|show(:[1-9]\d{0,3})?", option.hunt):
        return
    path = Path(option.hunt.partition("::")[0])
    if not (path.parts[1:] or (config.invocation_params.dir / path).exists()):
        raise pytest.UsageError(
            f"--hunt={option.hunt}: there are --hunt, --hunt=show and --hunt=show:2."
        )
    named = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    config.args, option.hunt = [*named, option.hunt], "all"


def _check_choices(option: Any, here: Path) -> None:
    chosen = [f"--{name}" for name in CHOICES if getattr(option, name)]
    if len(chosen) > 1:
        raise pytest.UsageError(f"Choose one of {' and '.join(chosen)}.")
    if option.solutions and not any(lesson.reference.exists() for lesson in find_lessons()):
        raise pytest.UsageError("This copy has no reference solutions.")
    if option.candidate_dir and not (here / option.candidate_dir).is_dir():
        raise pytest.UsageError(f"--candidate-dir: there is no folder {option.candidate_dir}.")
    if option.database:
        _check_database(option)
    if option.json and not option.candidate_dir:
        raise pytest.UsageError("--json goes with --candidate-dir.")
    if option.json:  # said before the grading, not after it
        try:
            (here / option.json).open("a").close()
        except OSError as error:
            raise pytest.UsageError(f"--json: {option.json}: {error.strerror}.") from None
    if option.candidate and not (here / option.candidate).is_file():
        raise pytest.UsageError(f"--candidate: there is no file {option.candidate}.")


def _check_database(option: Any) -> None:
    if option.candidate_dir:
        raise pytest.UsageError("--database goes without --candidate-dir.")
    if not (ROOT / "solutions" / "database.py").exists():
        raise pytest.UsageError("--database needs the reference of lesson 12, which is not here.")
    if not option.database.startswith(("sqlite:///", "postgresql://")):
        raise pytest.UsageError("--database: give sqlite:///new.db, or postgresql://...")


def _check_help(config: pytest.Config) -> None:
    if config.option.reset and config.option.watch:
        raise pytest.UsageError("--reset goes without --watch.")
    if config.option.hunt:
        _check_alone(config)
    for asked, more in (("reset", ""), ("hint", ", or --hint=more"), ("hunt", "")):
        if getattr(config.option, asked) and not _own_lesson(config):
            example = f"pytest lessons/01 --{asked}{more}"
            raise pytest.UsageError(f"--{asked} is about your file in one lesson: {example}")


def _check_alone(config: pytest.Config) -> None:
    for other in ("reset", "watch", "hint", "mine", "database", "keyword"):
        if getattr(config.option, other):
            name = "-k" if other == "keyword" else f"--{other}"
            raise pytest.UsageError(f"--hunt goes without {name}.")
    if any("::" in argument for argument in config.args):
        raise pytest.UsageError("--hunt runs all tests of hunt.py, so it goes without ::.")


def _check_own_tests(paths: list[Path]) -> None:
    own = [path for path in paths if path.exists() and not path.is_relative_to(ROOT / "lessons")]
    if own and not OWN_TESTS.exists():
        raise pytest.UsageError("Name a lesson: pytest lessons/01. For all of them: pytest lessons")
    if own and not _has_what_own_tests_need():
        raise pytest.UsageError(
            "The workbook's own tests need more: "
            "pip install -c constraints.txt -e '.[dev,notebooks]'. Learners type: pytest lessons/01"
        )


def _has_what_own_tests_need() -> bool:
    return all(map(find_spec, ("sybil", "matplotlib", "nbclient", "xdist")))
