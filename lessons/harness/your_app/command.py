"""`pytest lessons/your_app --app=shop.main:app`: from the command line to the exit code."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lessons.harness.meter import Meter
from lessons.harness.your_app import reports, screen
from lessons.harness.your_app.attacks import all_attacks
from lessons.harness.your_app.description import FILE, BadDescription, Description, Start, read
from lessons.harness.your_app.document import fetch
from lessons.harness.your_app.findings import NotTried
from lessons.harness.your_app.guess import guess
from lessons.harness.your_app.reading import Guess
from lessons.harness.your_app.run import accepted, run_all
from lessons.harness.your_app.site import Hooks, Site
from lessons.harness.your_app.target import BadTarget, Here, Importing, There, load
from lessons.harness.your_app.writing import TO_FILL_IN, as_toml

HOST = "localhost:8000"
SECONDS = 300  # for all attacks
NOT_ATTACKED, OPEN, SHUT = 2, 1, 0
LIBRARIES = {  # whose versions change what an attack does
    "fastapi": "fastapi",
    "starlette": "starlette",
    "bcrypt": "bcrypt",
    "jose": "python-jose",
}
METERED = "argon2 passlib cryptography nacl kdf"  # libraries that the meter looks for


class CannotStart(Exception):
    """Nothing can be attacked. The message is one sentence, and says the next step."""


@dataclass(frozen=True)
class Asked:
    """The command line."""

    app: str | None
    url: str | None
    folder: Path  # of the app
    description: Path
    reports: list[Path]
    only: str = ""
    typed: str = ""  # the whole command

    @property
    def name(self) -> str:
        return self.app or self.url or ""


def attack(asked: Asked) -> int:
    """Attack an app, or write its description first. Return the exit code."""
    try:
        for each in asked.reports:
            reports.check(each)
        _check_only(asked.only)
        with _in(asked.folder):
            return _attack(asked)
    except (CannotStart, BadTarget, BadDescription, reports.UnknownReport) as error:
        print(*screen.wrapped(str(error)), sep="\n")
        return NOT_ATTACKED


def list_attacks() -> int:
    """Print each attack: its lesson, its name, and what is true when it succeeds."""
    for each in all_attacks():
        print(f"{each.lesson}  {each.name:<27} {each.title}")
    return SHUT


def _check_only(only: str) -> None:
    if not any(only in each.name for each in all_attacks()):
        raise CannotStart(f"-k {only}: no attack has that in its name.")


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    """Stand in the app's folder, where it looks for its files; import from there."""
    if not folder.is_dir():
        raise CannotStart(f"--app-dir: there is no folder {folder}.")
    with contextlib.chdir(folder):
        yield


def _attack(asked: Asked) -> int:
    sys.dont_write_bytecode = True  # nothing of ours stays in the app's folder
    about = read(asked.description)
    os.environ.update(about.env)
    if isinstance(about, Description):
        _check_accepted(about)
    for each in (asked.folder, asked.description.parent):
        if str(each) not in sys.path:
            sys.path.insert(0, str(each))
    meter = None
    with _quiet() as printed:
        if asked.app:
            meter = Meter()
            meter.install(METERED)
        hooks, target = _target(asked, about)
        try:
            app = getattr(target, "app", None)
            if hooks.prepare is not None:
                _prepare(target, hooks, app)
            target.start()
            document = fetch(target, app)
            if not isinstance(about, Description):
                return _describe(asked, guess(target, document, hooks), printed)
            site = Site(target, about, hooks, meter, document)
            site.logged = printed.so_far
            code = _run(asked, site, printed)
        finally:
            target.close()
    if isinstance(target, Here) and target.hung:
        os._exit(code)  # a thread of the app that never ends would be waited for
    return code


def _check_accepted(about: Description) -> None:
    names = [each.name for each in all_attacks()]
    for name in about.policy.accepted:
        if name not in names:
            raise BadDescription(
                f"{FILE}: policy.accept: there is no attack {name}; for all of them: "
                "pytest lessons/your_app --collect-only"
            )


@contextmanager
def _quiet() -> Iterator["_Printed"]:
    """Keep what the app prints off the screen, in a file: some apps ask for a true one."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder, "printed")
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            printed = _Printed(sys.stdout, file, path)
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield printed


class _Printed:
    """The screen, while the app writes elsewhere."""

    def __init__(self, terminal: Any, file: Any, path: Path) -> None:
        self._terminal = terminal
        self._file = file
        self._path = path

    def so_far(self) -> str:
        """Return what the app has written."""
        self._file.flush()
        return self._path.read_text("utf-8", "replace")

    def say(self, *lines: str) -> None:
        print(*lines, sep="\n", file=self._terminal, flush=True)


def _target(asked: Asked, about: Start) -> tuple[Hooks, Here | There]:
    """Return the hooks and the app, imported or running."""
    module = about.hooks.module if about.hooks else ""
    if asked.url:
        hooks = Hooks.load(module) if module else Hooks()
        return hooks, There(asked.url, about.host, about.https)
    hooks = Hooks()

    def imported() -> Any:
        nonlocal hooks
        assert asked.app
        app = load(asked.app, asked.folder)
        hooks = Hooks.load(module) if module else hooks
        return app

    target = Here(Importing(imported), about.host or HOST, about.https)
    return hooks, target


def _prepare(target: Here | There, hooks: Hooks, app: Any) -> None:
    try:
        target.call(hooks.prepare, app)  # type: ignore[arg-type]
    except Exception as error:
        said = " ".join(str(error).split())
        raise CannotStart(f"The hook prepare fails: {type(error).__name__}: {said}") from None


def _describe(asked: Asked, found: Guess, printed: _Printed) -> int:
    """Write a first description, below what its owner has written; say what to do next."""
    text = as_toml(found)
    owners = asked.description.read_text("utf-8-sig") if asked.description.exists() else ""
    asked.description.write_text(f"{owners.rstrip()}\n\n{text}".lstrip(), "utf-8")
    lines = [f"{asked.description.name} is written. No attack yet."]
    if found.person and found.me and found.login:
        maker = found.register.route if found.register else "the hook add"
        lines += screen.wrapped(
            f"Tried: {maker} makes an account, "
            f"{found.login.route} lets it in, and {found.me.route} shows who it is. "
            f"(The account is called {found.person}.)"
        )
    lines += _steps(found, text)
    lines += ["Then the same command attacks:", asked.typed]
    printed.say(*lines)
    return NOT_ATTACKED


def _steps(found: Guess, text: str) -> list[str]:
    """Return what the owner does next, in a line each."""
    steps = [("", note) for note in found.notes]
    steps += [
        ("fill in", line.removeprefix(TO_FILL_IN))
        for line in text.splitlines()
        if line.startswith(TO_FILL_IN)
    ]
    if found.actions:
        names = ", ".join(f"[{name}]" for name in found.actions)
        steps.append(("check", f"{names}: read in the OpenAPI document, not tried"))
    if open_to_all := [*found.doubtful, *found.public]:
        routes = ", ".join(open_to_all)
        steps.append(("check", f"[policy], public: everybody gets an answer to {routes}"))
    if found.login:
        more = "[[admin]], [[thing]], [hooks]: the attacks on rights need them"
        steps.append(("better", more))
    return [
        line
        for word, step in steps
        for line in screen.wrapped(step, " " * 8, f"{word:<8}" if word else "")
    ]


def _run(asked: Asked, site: Site, printed: _Printed) -> int:
    begin = time.perf_counter()
    site.end = begin + SECONDS
    visit = site.visit()
    try:
        with visit.stack:
            visit.log_in(visit.somebody())
    except NotTried as reason:
        raise CannotStart(
            f"Nothing can be attacked yet: {reason}. Correct {asked.description.name}."
        ) from None
    findings = run_all(site, asked.only)
    seconds = time.perf_counter() - begin
    lines = [screen.heading(asked.name, site.sent, seconds)]
    lines += _surroundings(asked, site)
    lines += ["", *screen.table(findings), *screen.details(findings)]
    lines += screen.summary(findings, site.made)
    unused = [name for name in accepted(site) if _is_refused(name, findings)]
    if unused:
        lines += screen.wrapped(f"policy accepts what is refused now: {', '.join(unused)}")
    for path in asked.reports:
        where = os.path.relpath(asked.description, asked.description.parent)
        reports.write(path, asked.name, findings, where)
        lines.append(f"written: {path.name}")
    printed.say(*lines)
    tried = [each for each in findings if each.status != "not tried"]
    if not tried:
        return NOT_ATTACKED
    return OPEN if any(each.fails for each in findings) else SHUT


def _surroundings(asked: Asked, site: Site) -> list[str]:
    """Return what the ends of some attacks depend on: versions, and where settings come from."""
    if not asked.app:
        return []
    versions = [f"Python {sys.version.split()[0]}"]
    for name, package in LIBRARIES.items():
        if name in sys.modules:
            with contextlib.suppress(PackageNotFoundError):
                versions.append(f"{package} {version(package)}")
    lines = screen.wrapped(", ".join(versions))
    if site.description.env:
        lines += screen.wrapped(f"settings: {', '.join(site.description.env)} of [env]")
    if (asked.folder / ".env").is_file():
        lines.append("there is a .env in the app's folder")
    return lines


def _is_refused(name: str, findings: Any) -> bool:
    return any(each.name == name and each.status == "refused" for each in findings)


def description_for(given: str | None, here: Path) -> Path:
    """Return where the description is, or will be."""
    return (here / (given or FILE)).resolve()
