"""What the learner sees of a run: verdicts instead of tracebacks, and the screen at its end."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from lessons.harness.candidate import Candidate, crash_line
from lessons.harness.catalogue import Lesson, lesson_of
from lessons.harness.escapes import Interrupted, contained, no_way_out
from lessons.harness.limit import Endless, Limit
from lessons.harness.login_form import spare_the_login_form_a_thread
from lessons.harness.meter import Meter
from lessons.harness.refusals import note_refusals
from lessons.harness.screen import (
    WIDTH,
    Outcome,
    colours_of,
    is_green,
    lesson_screen,
    progress_table,
)
from lessons.harness.transcript import Transcript
from lessons.harness.verdicts import (
    BROKEN,
    OPEN,
    WRONG,
    BrokenCandidate,
    Unwritten,
    verdict_of,
)


def whose(config: pytest.Config) -> str:
    """Return the option that chose whose code is graded, or '' for the learner's."""
    choices = ("solutions", "naive", "mine")
    return next((name for name in choices if getattr(config.option, name)), "")


class View:
    """The plug-in that watches the tests of the lessons, and tells what their ends mean."""

    def __init__(
        self,
        limit: Limit,
        transcript: Transcript,
        meter: Meter,
        candidate_of: Callable[[pytest.Config, Lesson], Candidate],
    ) -> None:
        self._limit = limit
        self._transcript = transcript
        self._meter = meter
        self._candidate_of = candidate_of
        self._outcomes: dict[Lesson, dict[str, Outcome]] = {}
        self._is_looking_for_the_cause = False
        self._has_said_what_runs = False

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        lessons = {lesson for item in items if (lesson := lesson_of(item.path))}
        if config.option.candidate and len(lessons) > 1:
            raise pytest.UsageError(
                "--candidate grades one lesson: pytest lessons/02 --candidate=PATH"
            )
        if lessons:
            self._meter.install(
                " ".join(self._candidate_of(config, lesson).sources for lesson in lessons)
            )
            # On a busy machine a thread that gives way gets nothing, and its hash seems endless.
            os.setpriority = lambda which, who, priority: None
            spare_the_login_form_a_thread()
            note_refusals()
        for item in items:
            lesson = lesson_of(item.path)
            if lesson and whose(config) != "solutions":
                # A library that announces a change is no fault of the learner's.
                item.add_marker(pytest.mark.filterwarnings("ignore"))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if _has_our_view(session.config) and all(lesson_of(item.path) for item in session.items):
            session.config.option.tbstyle = "no"  # from here on a sign of our view
            session.config.pluginmanager.get_plugin("terminalreporter").reportchars = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        lesson = lesson_of(item.path)
        if lesson is None:
            return (yield)
        with (
            no_way_out(),
            self._limit.watching(
                self._candidate_of(item.config, lesson).files,
                give_up=lambda: self._give_up(item, lesson),
                say=lambda: self._say_what_runs(item),
            ),
        ):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        with contained(ours=(pytest.skip.Exception, pytest.fail.Exception)):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        with contained(ours=(pytest.skip.Exception, pytest.fail.Exception)):
            return (yield)

    def _say_what_runs(self, item: pytest.Item) -> None:
        """Tell somebody who waits, past the capture. A log is told once a run: a slow machine."""
        plugin = item.config.pluginmanager.get_plugin
        terminal = plugin("terminalreporter")
        if self._has_said_what_runs and not terminal.isatty:
            return
        self._has_said_what_runs = True
        with suppress(RuntimeError), plugin("capturemanager").global_and_fixture_disabled():
            # RuntimeError: with -s the alarm may come in the middle of a print.
            terminal.write_line(f"still running: {item.name} (Ctrl-C ends it)"[:WIDTH])
            terminal.flush()

    def _give_up(self, item: pytest.Item, lesson: Lesson) -> None:
        outcome = self._outcomes.setdefault(lesson, {}).setdefault(
            item.originalname, _outcome(item)
        )
        outcome.worsen(BROKEN, item, self._limit.sentence, self._transcript, "")
        self._end_here(item.config)

    def _end_here(self, config: pytest.Config) -> None:
        config.pluginmanager.get_plugin("capturemanager").suspend_global_capture()
        self._print_screens(config)

    def pytest_enter_pdb(self) -> None:
        self._limit.pause()

    def pytest_leave_pdb(self) -> None:
        self._limit.go_on()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if isinstance(excinfo.value, Interrupted):
            self._limit.interrupted = True  # a thread may go on, and would be waited for

    def pytest_unconfigure(self) -> None:
        self._limit.leave(pytest.ExitCode.INTERRUPTED if self._limit.interrupted else 1)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Iterator[None]:
        report = yield
        lesson = lesson_of(item.path)
        if (
            lesson is None
            or self._is_looking_for_the_cause
            or (call.when != "call" and report.passed)
        ):
            return report
        error = call.excinfo.value if call.excinfo else None
        if call.when == "call" and not isinstance(error, Unwritten | BrokenCandidate):
            waits = _waits_for(
                item, self._candidate_of(item.config, lesson), has_failed=error is not None
            )
            if waits is not None:
                error, report.outcome, report.longrepr = waits, "failed", str(waits)
        if isinstance(error, Endless):
            error = BrokenCandidate(self._limit.sentence)
            item.session.shouldstop = "a test did not come to an end"
        outcome = self._outcomes.setdefault(lesson, {}).setdefault(
            item.originalname, _outcome(item)
        )
        verdict = verdict_of(error)
        if error is not None:
            message = _message(error, self._candidate_of(item.config, lesson))
            if isinstance(error, Unwritten):
                outcome.waits_for |= error.todos
            outcome.worsen(verdict, item, message, self._transcript, report.capstdout)
        if outcome.item in (None, item):
            outcome.ran |= self._candidate_of(item.config, lesson).entered
        item.user_properties.append(("verdict", verdict))  # for --junitxml
        if verdict in (OPEN, WRONG):
            outcome.failures[item.name] = message
            item.user_properties.append(("failure", message))
        if verdict == BROKEN:
            item.user_properties.append(("sentence", message))
        if outcome.is_attack:
            item.user_properties.append(("attack", ""))
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[object]:
        result = yield
        if session.config.option.tbstyle == "no" and not self._limit.struck:
            self._find_causes(session.config)
        return result

    def _find_causes(self, config: pytest.Config) -> None:
        """Let the screen know which part of the learner's file is at fault."""
        tests = [each for outcomes in self._outcomes.values() for each in outcomes.values()]
        if whose(config) in ("naive", "solutions") or not any(each.is_wrong for each in tests):
            return
        from lessons.harness.blame import blame  # here, since most runs do not need it
        from lessons.harness.what_ran import blame_what_ran

        self._is_looking_for_the_cause = True
        for lesson, outcomes in self._outcomes.items():
            wrong = [each for each in outcomes.values() if each.is_wrong]
            candidate = self._candidate_of(config, lesson)
            if candidate.reference is None:
                for each in wrong:
                    blame_what_ran(each, [*outcomes.values()], candidate)
                continue
            failed = [each.item for each in wrong if each.item]
            with self._limit.watching(candidate.files, lambda: self._end_here(config)):
                for name, parts in blame(failed, candidate).items():
                    outcomes[name].at_fault = parts
        self._is_looking_for_the_cause = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        yield
        self._print_screens(session.config)

    def _print_screens(self, config: pytest.Config) -> None:
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        chosen = "candidate" if config.option.candidate else whose(config)
        lessons = {
            lesson: list(self._outcomes[lesson].values())
            for lesson in sorted(self._outcomes, key=lambda lesson: lesson.number)
        }
        lines = []
        if len(lessons) == 1 or chosen == "naive":
            for lesson, outcomes in lessons.items():
                candidate = self._candidate_of(config, lesson)
                lines += lesson_screen(
                    lesson, candidate, outcomes, chosen, _doubtful(config, candidate)
                )
                if asked := config.option.hint:
                    from lessons.harness.hints import hint_below  # who asks for none need not wait

                    lines += hint_below(lines, candidate, more=asked == "more")
        if len(lessons) > 1:
            lines += progress_table(lessons, chosen)
        for line in lines:
            terminal.write_line(line, **colours_of(line))
        if chosen in ("", "mine"):
            _note_greens(config, lessons)


def _has_our_view(config: pytest.Config) -> bool:
    return config.option.tbstyle == "auto" and config.option.verbose <= 0


def _waits_for(item: pytest.Item, candidate: Candidate, has_failed: bool) -> Unwritten | None:
    """Return what a test still waits for.

    With a reference, which stands in for each open TODO: it passed, and came through one. Without
    one it fails there, since a TODO does nothing yet. The test of an open TODO is never green.
    """
    marker = item.get_closest_marker("todo")
    own = {marker.args[1]} if marker else set()
    if candidate.reference is None and has_failed:
        # A declaration cannot tell that it is used. Its tests say so.
        names = candidate.entered | (own & candidate.declarations)
    elif has_failed:
        return None
    elif candidate.reference is None:
        names = own
    else:
        names = candidate.entered | own
    waited = {todo.number for todo in candidate.open_todos if todo.name in names}
    numbers = ", ".join(map(str, sorted(waited)))
    rest = "" if has_failed else " The rest is right."
    return Unwritten(f"TODO {numbers} to write.{rest}", waited) if waited else None


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
