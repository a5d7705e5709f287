"""Has imported all libraries already, and runs pytest in a fork of itself when it is told to.

Run by path, with `python -P`. It imports nothing of the workbook, so each run sees the files as
they are. An order is a line of JSON on standard input: the arguments for pytest. A new order ends
the run before it, and so does the end of the input. When a run ends, a line with its exit code
goes to the pipe that the first argument names.
"""

import contextlib
import gc
import json
import os
import select
import signal
import sys
from typing import NoReturn

import pytest


def warm_up() -> None:
    """Import what every run imports, and use it once: first uses are slow, too."""
    import asyncio
    from typing import Annotated

    import fastapi_offline
    import httpx2
    import jwt
    import multipart
    import time_machine
    from fastapi import APIRouter, Depends, FastAPI
    from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
    from passlib.context import CryptContext
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
    app = FastAPI()
    app.include_router(router)

    async def ask() -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://warm") as client:
            form = {"username": "johndoe", "password": "secret"}
            (await client.post("/token", data=form)).raise_for_status()

    asyncio.run(ask())
    context = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4)
    context.verify("secret", context.hash("secret"))
    jwt.decode(jwt.encode({"sub": "x"}, "k" * 32), "k" * 32, algorithms=["HS256"])


class Run:
    """One run of pytest in a fork."""

    def __init__(self, arguments: list[str]) -> None:
        self.ended, ending = os.pipe()  # closed by the fork's end, whatever ends it
        sys.stdout.flush()
        self._process = os.fork()
        if self._process == 0:
            os.close(self.ended)
            _be_a_run(arguments)
        os.close(ending)

    def wait(self) -> int:
        """Return the exit code, once the run has ended."""
        os.close(self.ended)
        _, status = os.waitpid(self._process, 0)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """End the run now."""
        os.kill(self._process, signal.SIGKILL)
        self.wait()


def _be_a_run(arguments: list[str]) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C leaves at once, without a traceback
    code = 1
    try:
        code = int(pytest.main(arguments))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def obey(orders: int, answers: int) -> None:
    """Run pytest for each order, until there are none."""
    run: Run | None = None
    while True:
        ready, _, _ = select.select([orders, *([run.ended] if run else [])], [], [])
        if orders in ready:  # first: the answer of a run that has ended meanwhile is not awaited
            text = os.read(orders, 65536)
            if run:
                run.kill()
                run = None
            if not text:
                return
            run = Run(json.loads(text.splitlines()[-1]))
        elif run:
            os.write(answers, f"{run.wait()}\n".encode())
            run = None


if __name__ == "__main__":
    warm_up()
    gc.collect()
    gc.freeze()
    with contextlib.suppress(KeyboardInterrupt):
        obey(int(sys.argv[1]), int(sys.argv[2]))
