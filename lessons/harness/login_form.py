"""Builds FastAPI's login form on the event loop, where FastAPI takes it to a worker thread.

It does so with every dependency that is no coroutine, since one may block. This one only keeps the
fields, and the way to a thread and back costs a test as much as the rest of a small app. What the
way gives to others stays: turns, in which they overwrite what is kept where all look.
"""

import asyncio
from typing import Any

from fastapi.dependencies import utils
from fastapi.security import OAuth2PasswordRequestForm, OAuth2PasswordRequestFormStrict

FORMS = (OAuth2PasswordRequestForm, OAuth2PasswordRequestFormStrict)  # and nobody's subclass
TURNS = 3  # for others


def spare_the_login_form_a_thread() -> None:
    """Let FastAPI build it where the request is. Once a run."""
    library: Any = utils
    in_a_thread = library.run_in_threadpool

    async def run(function: Any, *args: Any, **kwargs: Any) -> Any:
        if function not in FORMS:
            return await in_a_thread(function, *args, **kwargs)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return function(*args, **kwargs)

    library.run_in_threadpool = run
