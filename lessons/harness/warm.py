"""Has imported all libraries already, and runs pytest in a fork of itself when it is told to.

Run by path, with `python -P`. It imports nothing of the workbook, so each run sees the files as
they are. The first two arguments are pipes. From the first come orders, a line of JSON each: a
folder, and the arguments for pytest. A new order ends the run before it, and so does the end of the
pipe. When a run ends, a line with its exit code goes to the second.

A third argument is for somebody who waits: the order that is expected. Each run rehearses before it
comes, and lets pytest get ready for it. That makes it begin earlier after a save, and costs more
than it saves where runs follow each other. Another order, or a file that was changed after it had
been read, gets a run that is not ready for anything.

With a fourth, a folder, all runs are in this copy of the workbook, which nobody edits meanwhile:
its helpers are imported once.
"""

import contextlib
import functools
import gc
import importlib
import io
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

try:
    import termios
except ImportError:  # Windows, which does not fork either
    termios = None  # type: ignore[assignment]

TERMINAL = 0  # standard input
COARSE = 2  # seconds; some file systems keep no finer times
UNPREPARED = 86  # the exit code of a run that is ready for something else than what was ordered


def rehearse() -> None:
    """Do a little of all that a run does. Raises what is wrong with the environment."""
    # Unused here: a run would import them, after the save.
    import concurrent.futures.thread
    import tomllib

    import jwt
    import multipart
    import time_machine
    from passlib.context import CryptContext

    _rehearse_app()
    context = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4)
    context.verify("secret", context.hash("secret"))
    jwt.decode(jwt.encode({"sub": "x"}, "k" * 32), "k" * 32, algorithms=["HS256"])
    _rehearse_pytest()


def _rehearse_app() -> None:
    import asyncio
    from typing import Annotated

    import httpx2
    from fastapi import APIRouter, Depends
    from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
    from fastapi_offline import FastAPIOffline
    from pydantic import BaseModel
    from pydantic_settings import BaseSettings

    class Settings(BaseSettings):
        pass

    class Answer(BaseModel):
        name: str

    scheme = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)
    router = APIRouter()

    @router.post("/token")
    async def log_in(
        form: Annotated[OAuth2PasswordRequestForm, Depends()],
        token: Annotated[str | None, Depends(scheme)],
    ) -> Answer:
        return Answer(name=form.username)

    Settings()
    app = FastAPIOffline()
    app.include_router(router)

    async def ask() -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://warm") as client:
            form = {"username": "johndoe", "password": "secret"}
            (await client.post("/token", data=form)).raise_for_status()

    asyncio.run(ask())


def _rehearse_pytest() -> None:
    options = ("-c", os.devnull, "--noconftest", "-p", "no:cacheprovider")
    usual = ("--import-mode=importlib", "--disable-plugin-autoload")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.delenv("PYTEST_ADDOPTS", raising=False)  # what it says is for the runs
        patch.delenv("PYTEST_PLUGINS", raising=False)
        code = pytest.main([__file__, *options, *usual])
    assert code == 0, said.getvalue()
    # pytest has imported this file with its package. The runs may be in another copy of it.
    for name in [name for name in sys.modules if name.partition(".")[0] == "lessons"]:
        del sys.modules[name]


def import_helpers(*folder: str) -> None:
    """Import what the tests of the workbook in this folder share, if one is given."""
    if folder:
        sys.path.insert(0, folder[0])
        importlib.import_module("lessons.harness.ahead").import_helpers()
        sys.path.remove(folder[0])


def test_nothing() -> None:
    """Be the test of the rehearsal."""


class Unheard(io.TextIOWrapper):
    """Standard output that nobody hears until it is time."""

    is_heard = False

    def write(self, text: str) -> int:
        return super().write(text) if self.is_heard else len(text)


class Readiness:
    """Waits for the order where pytest has found the tests, and read nothing of the learner's."""

    def __init__(self, order: int, expected: bytes) -> None:
        self._order = order
        self._expected = expected
        self._began = time.time() - COARSE
        self._output = Unheard(sys.stdout.buffer, sys.stdout.encoding, sys.stdout.errors)
        self.has_order = False

    def get_ready(self) -> int:
        """Run pytest as it is expected, to its end. Return the exit code."""
        sys.stdout = self._output
        return _run(self._expected, self)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._ahead = importlib.import_module("lessons.harness.ahead")
        self._lessons = self._ahead.lessons_of(session.config)
        self._ahead.import_helpers(self._lessons)
        if not session.config.option.mine:
            self._ahead.import_steps_below(self._lessons)
        self._tests = self._ahead.test_files(self._lessons)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, config: pytest.Config) -> None:
        leave_alone_what_there_is()
        order = os.read(self._order, 65536)
        self.has_order = True
        if (
            order != self._expected
            or self._ahead.test_files(self._lessons) != self._tests
            or any(self._is_newer(each) for each in self._ahead.files_read(config))
        ):
            os._exit(UNPREPARED)
        self._output.is_heard = True
        screen = config.pluginmanager.get_plugin("terminalreporter")
        screen.pytest_sessionstart(session)  # again: it says so, and takes the time
        screen.pytest_collection()

    def _is_newer(self, file: Path) -> bool:
        return not file.exists() or file.stat().st_mtime > self._began


class Run:
    """One run of pytest in a fork, which is made ahead and waits for its order."""

    def __init__(self, expected: bytes) -> None:
        self.has_begun = False
        self.ended, ending = os.pipe()  # closed by the fork's end, whatever ends it
        order, self._order = os.pipe()
        sys.stdout.flush()
        self._process = os.fork()
        if self._process == 0:
            os.close(self.ended)
            os.close(self._order)
            _be_a_run(order, expected)
        os.close(ending)
        os.close(order)

    def begin(self, order: bytes) -> None:
        """Let pytest run with these arguments."""
        self.has_begun = True
        with contextlib.suppress(BrokenPipeError):  # it has died; wait() says so
            os.write(self._order, order)
        os.close(self._order)

    def wait(self) -> int:
        """Return the exit code, once the run has ended."""
        os.close(self.ended)
        _, status = os.waitpid(self._process, 0)
        # A debugger that was killed left it without echo; a killed `watch`, without lines. A shell
        # that is in front again has seen to that itself.
        if terminal := _settings_of_the_terminal():
            with contextlib.suppress(termios.error):
                termios.tcsetattr(TERMINAL, termios.TCSADRAIN, terminal)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """End the run now."""
        os.kill(self._process, signal.SIGKILL)
        self.wait()


@functools.cache  # as they were at the start, before `watch` listened to keys
def _settings_of_the_terminal() -> list[Any] | None:
    return termios.tcgetattr(TERMINAL) if termios and os.isatty(TERMINAL) else None


def _be_a_run(order: int, expected: bytes) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C leaves at once, without a traceback
    code = 1
    try:
        if expected:  # a fork's memory is copied when it is first used: now, and not after the save
            rehearse()
            leave_alone_what_there_is()
            readiness = Readiness(order, expected)
            code = readiness.get_ready()
            if not readiness.has_order:
                code = UNPREPARED  # pytest has not come so far; it says why when it is time
        elif text := os.read(order, 65536):
            code = _run(text)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(order: bytes, *plugins: object) -> int:
    folder, *arguments = json.loads(order)
    os.chdir(folder)
    return int(pytest.main(arguments, plugins=plugins))


def leave_alone_what_there_is() -> None:
    """Spare all that is in memory by now the collector, which would copy it in each fork."""
    gc.collect()
    gc.freeze()


def obey(orders: int, answers: int, expected: bytes) -> None:
    """Run pytest for each order, until there are none."""
    run = Run(expected)
    order = b""
    while True:
        ready, _, _ = select.select([orders, *([run.ended] if run.has_begun else [])], [], [])
        if orders in ready:  # first: the answer of a run that has ended meanwhile is not awaited
            text = os.read(orders, 65536)
            if run.has_begun or not text:
                run.kill()
            if not text:
                return
            if run.has_begun:
                run = Run(expected)
            order = text.splitlines(keepends=True)[-1]
            run.begin(order)
        elif (code := run.wait()) == UNPREPARED:
            run = Run(b"")
            run.begin(order)
        else:
            os.write(answers, f"{code}\n".encode())
            run = Run(expected)


if __name__ == "__main__":
    _settings_of_the_terminal()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while there is nothing to end
    rehearse()
    import_helpers(*sys.argv[4:])
    leave_alone_what_there_is()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # `watch` closes the pipe, and that ends the run
    obey(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode())
