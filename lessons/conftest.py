"""Whose code is graded, and the learner's screen. The parts are in `harness/`."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from lessons.harness.candidate import (
    SETTINGS,
    Candidate,
    Recorded,
    clear_caches,
    clear_state,
    crash_line,
)
from lessons.harness.catalogue import Lesson, lesson_of
from lessons.harness.client import Client
from lessons.harness.escapes import Interrupted, contained, no_way_out
from lessons.harness.limit import Endless, Limit
from lessons.harness.login_form import spare_the_login_form_a_thread
from lessons.harness.loop import Loop
from lessons.harness.meter import Meter
from lessons.harness.people import PASSWORDS
from lessons.harness.refusals import note_refusals
from lessons.harness.screen import (
    WIDTH,
    Outcome,
    colours_of,
    is_green,
    lesson_screen,
    progress_table,
)
from lessons.harness.stores import Waiting
from lessons.harness.transcript import Transcript
from lessons.harness.verdicts import (
    BROKEN,
    OPEN,
    WRONG,
    BrokenCandidate,
    Unwritten,
    verdict_of,
)


def draw_settings() -> dict[str, str]:
    """Draw settings of which none is its default or equal to another, anew in each run.

    So code that has a default written out, or takes one setting for another, shows. They are those
    of production, where copied code runs; the meter makes its hashes cheap.
    """
    drawn = secrets.SystemRandom()
    return {
        "ENVIRONMENT": "production",
        "JWT_SECRET": secrets.token_urlsafe(48),
        "JWT_ISSUER": f"https://issuer-{secrets.token_hex(4)}.example",
        "JWT_AUDIENCE": f"audience-{secrets.token_hex(4)}",
        "ACCESS_TOKEN_EXPIRE_MINUTES": str(drawn.randint(13, 29)),
        "REFRESH_TOKEN_EXPIRE_DAYS": str(drawn.choice([4, 5, 6, 8, 9, 10])),
        "BCRYPT_ROUNDS": str(drawn.choice([10, 11])),
        "PASSWORD_MIN_LENGTH": str(drawn.randint(9, 12)),
        "MAX_BODY_BYTES": str(drawn.randint(70_000, 90_000)),
    }


TEST_SETTINGS = draw_settings()

_limit = Limit()
_transcript = Transcript()
_meter = Meter()
_candidates: dict[Lesson, Candidate] = {}
_hashes: dict[Lesson, dict[str, str]] = {}
_outcomes: dict[Lesson, dict[str, Outcome]] = {}
_looking_for_the_cause = False
_has_said_what_runs = False


def _whose(config: pytest.Config) -> str:
    choices = ("solutions", "naive", "mine")
    return next((name for name in choices if getattr(config.option, name)), "")


def _candidate(config: pytest.Config, lesson: Lesson) -> Candidate:
    if lesson not in _candidates:
        whose = _whose(config)
        file = {"solutions": lesson.reference, "naive": lesson.naive}.get(whose, lesson.starter)
        if config.option.candidate:
            file = (config.invocation_params.dir / config.option.candidate).resolve()
        _candidates[lesson] = Candidate(lesson, file, mine=whose == "mine")
    return _candidates[lesson]


# --- what the tests ask for -----------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper() in SETTINGS]:
            patch.delenv(name)
        for name, value in TEST_SETTINGS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """The event loop on which the apps run."""
    loop = Loop()
    yield loop
    if not _limit.struck:  # a thread that never ends would be waited for
        loop.close()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    _transcript.clear()
    clear_state()


@pytest.fixture
def meter() -> Meter:
    """Counts password hashing."""
    return _meter


@pytest.fixture
def candidate(request: pytest.FixtureRequest, loop: Loop) -> Recorded:
    """The graded module. Its functions can be called; each call goes into the transcript."""
    graded = _candidate(request.config, lesson_of(request.path))
    graded.renew()
    graded.load()
    return Recorded(graded, _transcript, loop.run)


@pytest.fixture
def users(candidate: Recorded, loop: Loop, request: pytest.FixtureRequest) -> Waiting:
    """The app's store, with the demo people in it. Above lesson 01 they can log in."""
    from solutions.stores.users import demo_people, open_user_store

    store = Waiting(open_user_store(), loop.run, _transcript)
    hashes = _cheap_hashes(_candidate(request.config, lesson_of(request.path)))
    for person in demo_people():
        hashed = hashes.get(person.username, person.hashed_password)
        loop.run(store.store.add(person.model_copy(update={"hashed_password": hashed})))
    return store


@pytest.fixture
def settings(candidate: Recorded) -> Any:
    """The settings that the app runs under, drawn for this run."""
    from solutions.support.settings import get_settings

    return get_settings()


@pytest.fixture
def refresh_store(candidate: Recorded, loop: Loop) -> Waiting:
    """The app's refresh tokens."""
    from solutions.stores.refresh_tokens import open_refresh_store

    return Waiting(open_refresh_store(), loop.run, _transcript)


@pytest.fixture
def key_store(candidate: Recorded, loop: Loop) -> Waiting:
    """The app's API keys."""
    from solutions.stores.api_keys import open_key_store

    return Waiting(open_key_store(), loop.run, _transcript)


@pytest.fixture
def later() -> Callable[[timedelta], AbstractContextManager[None]]:
    """Move the clock on: `with later(timedelta(days=3)):`."""

    @contextmanager
    def move(span: timedelta) -> Iterator[None]:
        import time_machine

        if span:
            _transcript.note(f"{span} after the beginning")
        with time_machine.travel(span):
            yield

    return move


def _cheap_hashes(graded: Candidate) -> dict[str, str]:
    lesson = graded.lesson
    if lesson not in _hashes and "solutions.hashing" in sys.modules and lesson.slug != "hashing":
        from solutions.hashing import hash_password

        try:
            _hashes[lesson] = {name: hash_password(PASSWORDS[name]) for name in PASSWORDS}
        except NotImplementedError as error:
            raise graded.unfinished(error) from None
    return _hashes.get(lesson, {})


@pytest.fixture
def client(
    candidate: Recorded,
    users: Any,
    request: pytest.FixtureRequest,
    loop: Loop,
) -> Iterator[Client]:
    """A client for the candidate's app."""
    graded = _candidate(request.config, lesson_of(request.path))
    client = Client(candidate.app, _transcript, loop, graded)
    yield client
    client.close()


@pytest.fixture
def configure(candidate: Recorded, request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Change settings for one test: `configure(BCRYPT_ROUNDS="5")`. Ask for it before `users`."""
    graded = _candidate(request.config, lesson_of(request.path))
    _cheap_hashes(graded)  # with the usual settings
    with pytest.MonkeyPatch.context() as patch:

        def change(**settings: str) -> None:
            for name, value in settings.items():
                patch.setenv(name, value)
            clear_caches()
            graded.load()

        yield change
    clear_caches()


# --- what the learner sees ------------------------------------------------------------------


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    lessons = {lesson for item in items if (lesson := lesson_of(item.path))}
    if config.option.candidate and len(lessons) > 1:
        raise pytest.UsageError("--candidate grades one lesson: pytest lessons/02 --candidate=PATH")
    if lessons:
        _meter.install(" ".join(_candidate(config, lesson).sources for lesson in lessons))
        # A thread that gives way gets nothing on a busy machine, and its hash would seem endless.
        os.setpriority = lambda which, who, priority: None
        spare_the_login_form_a_thread()
        note_refusals()
    for item in items:
        lesson = lesson_of(item.path)
        if lesson and _whose(config) != "solutions":
            # A library that announces a change is no fault of the learner's.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


def pytest_collection_finish(session: pytest.Session) -> None:
    if _has_our_view(session.config) and all(lesson_of(item.path) for item in session.items):
        session.config.option.tbstyle = "no"  # from here on a sign of our view
        session.config.pluginmanager.get_plugin("terminalreporter").reportchars = ""


def _has_our_view(config: pytest.Config) -> bool:
    return config.option.tbstyle == "auto" and config.option.verbose <= 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    lesson = lesson_of(item.path)
    if lesson is None:
        return (yield)
    with (
        no_way_out(),
        _limit.watching(
            _candidate(item.config, lesson).files,
            give_up=lambda: _give_up(item, lesson),
            say=lambda: _say_what_runs(item),
        ),
    ):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    with contained(ours=(pytest.skip.Exception, pytest.fail.Exception)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    with contained(ours=(pytest.skip.Exception, pytest.fail.Exception)):
        return (yield)


def _say_what_runs(item: pytest.Item) -> None:
    """Tell somebody who waits, past the capture. A log is told once a run: a slow machine."""
    global _has_said_what_runs
    plugin = item.config.pluginmanager.get_plugin
    terminal = plugin("terminalreporter")
    if _has_said_what_runs and not terminal.isatty:
        return
    _has_said_what_runs = True
    with suppress(RuntimeError), plugin("capturemanager").global_and_fixture_disabled():
        # RuntimeError: with -s the alarm may come in the middle of a print.
        terminal.write_line(f"still running: {item.name} (Ctrl-C ends it)"[:WIDTH])
        terminal.flush()


def _give_up(item: pytest.Item, lesson: Lesson) -> None:
    outcome = _outcomes.setdefault(lesson, {}).setdefault(item.originalname, _outcome(item))
    outcome.worsen(BROKEN, item, _limit.sentence, _transcript, "")
    _end_here(item.config)


def _end_here(config: pytest.Config) -> None:
    config.pluginmanager.get_plugin("capturemanager").suspend_global_capture()
    _print_screens(config)


def pytest_enter_pdb() -> None:
    _limit.pause()


def pytest_leave_pdb() -> None:
    _limit.go_on()


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    if isinstance(excinfo.value, Interrupted):
        _limit.interrupted = True  # a thread may go on, and would be waited for


def pytest_unconfigure() -> None:
    _limit.leave(pytest.ExitCode.INTERRUPTED if _limit.interrupted else 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    lesson = lesson_of(item.path)
    if lesson is None or _looking_for_the_cause or (call.when != "call" and report.passed):
        return report
    error = call.excinfo.value if call.excinfo else None
    if call.when == "call" and not isinstance(error, Unwritten | BrokenCandidate):
        waits = _waits_for(item, _candidate(item.config, lesson), has_failed=error is not None)
        if waits is not None:
            error, report.outcome, report.longrepr = waits, "failed", str(waits)
    if isinstance(error, Endless):
        error = BrokenCandidate(_limit.sentence)
        item.session.shouldstop = "a test did not come to an end"
    outcome = _outcomes.setdefault(lesson, {}).setdefault(item.originalname, _outcome(item))
    verdict = verdict_of(error)
    if error is not None:
        message = _message(error, _candidate(item.config, lesson))
        if isinstance(error, Unwritten):
            outcome.waits_for |= error.todos
        outcome.worsen(verdict, item, message, _transcript, report.capstdout)
    if outcome.item in (None, item):
        outcome.ran |= _candidate(item.config, lesson).entered
    item.user_properties.append(("verdict", verdict))  # for --junitxml
    if verdict in (OPEN, WRONG):
        outcome.failures[item.name] = message
        item.user_properties.append(("failure", message))
    if verdict == BROKEN:
        item.user_properties.append(("sentence", message))
    if outcome.is_attack:
        item.user_properties.append(("attack", ""))
    return report


def _waits_for(item: pytest.Item, candidate: Candidate, has_failed: bool) -> Unwritten | None:
    """Return what a test still waits for.

    With a reference, which stands in for each open TODO: it passed, and came through one. Without
    one it fails there, since a TODO does nothing yet. The test of an open TODO waits in any case.
    """
    marker = item.get_closest_marker("todo")
    # A declaration cannot tell that it is used. Its tests say so.
    own = {marker.args[1]} if marker else set()
    if has_failed is (candidate.reference is None):
        names = candidate.entered | own
    elif has_failed:
        return None
    else:
        names = own
    waited = {todo.number for todo in candidate.open_todos if todo.name in names}
    numbers = ", ".join(map(str, sorted(waited)))
    rest = "" if has_failed else " The rest is right."
    return Unwritten(f"TODO {numbers} to write.{rest}", waited) if waited else None


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[object]:
    result = yield
    if session.config.option.tbstyle == "no" and not _limit.struck:
        _find_causes(session.config)
    return result


def _find_causes(config: pytest.Config) -> None:
    """Let the screen know which part of the learner's file is at fault."""
    global _looking_for_the_cause
    tests = [each for outcomes in _outcomes.values() for each in outcomes.values()]
    if _whose(config) in ("naive", "solutions") or not any(each.is_wrong for each in tests):
        return
    from lessons.harness.blame import blame  # here, since most runs do not need it
    from lessons.harness.what_ran import blame_what_ran

    _looking_for_the_cause = True
    for lesson, outcomes in _outcomes.items():
        wrong = [each for each in outcomes.values() if each.is_wrong]
        candidate = _candidate(config, lesson)
        if candidate.reference is None:
            for each in wrong:
                blame_what_ran(each, [*outcomes.values()], candidate)
            continue
        failed = [each.item for each in wrong if each.item]
        with _limit.watching(candidate.files, lambda: _end_here(config)):
            for name, parts in blame(failed, candidate).items():
                outcomes[name].at_fault = parts
    _looking_for_the_cause = False


def _message(error: BaseException, candidate: Candidate) -> str:
    if isinstance(error, AssertionError | BrokenCandidate):
        return str(error).partition("\n")[0]
    return crash_line(error, candidate)


def _outcome(item: pytest.Item) -> Outcome:
    todo = item.get_closest_marker("todo")
    return Outcome(
        name=item.originalname,
        is_attack=item.get_closest_marker("attack") is not None,
        why=" ".join((item.function.__doc__ or "").split()),
        todo=todo.args if todo else None,
        line=item.location[1] + 1,
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    _print_screens(session.config)


def _print_screens(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    whose = "candidate" if config.option.candidate else _whose(config)
    lessons = {
        lesson: list(_outcomes[lesson].values())
        for lesson in sorted(_outcomes, key=lambda lesson: lesson.number)
    }
    lines = []
    if len(lessons) == 1 or whose == "naive":
        for lesson, outcomes in lessons.items():
            candidate = _candidate(config, lesson)
            lines += lesson_screen(lesson, candidate, outcomes, whose, _doubtful(config, candidate))
            if asked := config.option.hint:
                from lessons.harness.hints import hint_below  # who asks for none need not wait

                lines += hint_below(lines, candidate, more=asked == "more")
    if len(lessons) > 1:
        lines += progress_table(lessons, whose)
    for line in lines:
        terminal.write_line(line, **colours_of(line))
    if whose in ("", "mine"):
        _note_greens(config, lessons)


def _note_greens(config: pytest.Config, lessons: dict[Lesson, list[Outcome]]) -> None:
    green = [lesson for lesson, outcomes in lessons.items() if is_green(lesson, outcomes)]
    if green:
        from lessons.harness.greens import note_green

        note_green(config, green)


def _doubtful(config: pytest.Config, candidate: Candidate) -> list[Lesson]:
    if not candidate.earlier:
        return []
    from lessons.harness.greens import not_green

    return not_green(config, candidate.earlier)
