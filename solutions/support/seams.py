"""Two seams in lessons 01 to 09, at which lesson 10 comes in without copying any of them.

By themselves both do nothing. What is set for one request holds in its threads, too.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar


class Attempt:
    """A check of a password. It has failed until somebody says that it has succeeded."""

    succeeded = False


Guard = Callable[[str], AbstractAsyncContextManager[Attempt]]

current_guard: ContextVar[Guard | None] = ContextVar("current_guard", default=None)
current_facts: ContextVar[dict[str, str] | None] = ContextVar("current_facts", default=None)


def attempt(name: str) -> AbstractAsyncContextManager[Attempt]:
    """Stand around each check of a password: `async with attempt(name) as tried:`.

    `name` is as it was typed. Where there is a guard it may raise an HTTPException in the place of
    the check: 429 after too many.
    """
    note(whom=name)
    guard = current_guard.get()
    return guard(name) if guard else nullcontext(Attempt())


def note(**facts: str) -> None:
    """Tell the audit log, if there is one, what only this place knows. The first word counts."""
    known = current_facts.get()
    if known is not None:
        known |= facts | known
