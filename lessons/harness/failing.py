"""Stands before a store: fails in its place, dawdles, or notes what is called.

Each works on any object with asynchronous methods. What a store does inside of itself goes past
it: only the calls of the app are seen. `transaction()` stays what it is, in the caller's own task,
so what a store keeps in a `ContextVar` still holds.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

ANSWER = "<answer>"
MEETING_PATIENCE = 0.1  # seconds; only for those who wait for one that has ended


DOWN = "db-4711.internal"  # in each error of a store; whoever asks must not read it


class StoreDown(ConnectionError, TimeoutError):
    """The store cannot be reached, or not in time.

    It is both, so that whoever keeps silent about one of them is found out.
    """


def methods(store: Any) -> list[str]:
    """Return the public asynchronous methods of a store, `transaction` among them."""
    while isinstance(store, Before):
        store = store._store
    owner, found = type(store), []
    for name in dir(owner):
        method = inspect.unwrap(getattr(owner, name))
        is_async = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
        if is_async and not name.startswith("_"):
            found.append(name)
    return found


class Before:
    """Passes everything on to a store. Those below come in before and after each call."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        if name.startswith("_") or not callable(value):
            return value

        @wraps(value)
        async def run(*args: Any, **kwargs: Any) -> Any:
            await self._before(name, args, kwargs)
            try:
                result = await value(*args, **kwargs)
            finally:
                self._ended(name)
            await self._after(name)
            return result

        @wraps(value)
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = value(*args, **kwargs)
            is_block = hasattr(begun, "__aenter__")
            return self._within(name, args, kwargs, begun) if is_block else begun

        return run if inspect.iscoroutinefunction(value) else call

    @asynccontextmanager
    async def _within(
        self, name: str, args: Any, kwargs: Any, block: AbstractAsyncContextManager[Any]
    ) -> AsyncIterator[Any]:
        await self._before(name, args, kwargs)
        try:
            async with block as value:
                yield value
        finally:
            self._ended(name)
        await self._after(name)

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        """Come in before a method runs."""

    async def _after(self, name: str) -> None:
        """Come in after a method has done its work."""

    def _ended(self, name: str) -> None:
        """Come in when a method is at its end, or has raised."""


class Failing(Before):
    """A store one of whose methods fails, the first time or the first few times.

    The first `skip` calls of it work: whoever asks twice must not trust the first answer alone.
    With `after` it fails when the work is done: the answer of the database is lost, not the write.
    """

    def __init__(
        self,
        store: Any,
        method: str,
        error: Exception | None = None,
        times: int = 1,
        after: bool = False,
        skip: int = 0,
    ) -> None:
        super().__init__(store)
        self._method, self._error = method, error or StoreDown(f"No connection to {DOWN}.")
        self._skip = skip
        self._times, self._late = times, after
        self.failed = 0  # how often; 0 says that nobody called the method

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        if not self._late:
            self._fail(name)

    async def _after(self, name: str) -> None:
        if self._late:
            self._fail(name)

    def _fail(self, name: str) -> None:
        if name != self._method or self.failed >= self._times:
            return
        self._skip -= 1
        if self._skip < 0:
            self.failed += 1
            raise self._error


class Slow(Before):
    """A store that lets others run before and after each of its steps, as a database does."""

    def __init__(self, store: Any, turns: int = 3) -> None:
        super().__init__(store)
        self._turns = turns

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        await self._after(name)

    async def _after(self, name: str) -> None:
        for _ in range(self._turns):
            await asyncio.sleep(0)


class Meeting(Before):
    """A store at which a crowd on one event loop meets: after a call, each waits for all others.

    So what one has put where all look is overwritten before it is used, however busy the machine.
    Who never comes is not waited for longer than MEETING_PATIENCE.
    """

    def __init__(self, store: Any, size: int) -> None:
        super().__init__(store)
        self._barrier = asyncio.Barrier(size)

    async def _after(self, name: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(MEETING_PATIENCE):
                await self._barrier.wait()


class Held(Before):
    """A store in which the first call of a method has done its work, and waits until `let_go`."""

    def __init__(self, store: Any, method: str) -> None:
        super().__init__(store)
        self._method = method
        self.is_there, self.let_go = asyncio.Event(), asyncio.Event()

    async def _after(self, name: str) -> None:
        if name == self._method and not self.is_there.is_set():
            self.is_there.set()
            await self.let_go.wait()


async def an_hour_of_the_loop(turns: int = 3, seconds: float = 3600) -> None:
    """Let the clock of the event loop jump, and all whose time is over then have some turns.

    It does not go back, as no such clock does: whoever is woken by a time limit may look at it.
    """
    loop = asyncio.get_running_loop()
    real = type(loop).time
    ahead = loop.time() + seconds - real(loop)
    loop.time = lambda: real(loop) + ahead  # type: ignore[method-assign]
    for _ in range(turns):
        await asyncio.sleep(0)


class Late(Before):
    """A store that takes an hour for each answer, by the clock of the event loop.

    Nobody waits for it: the clock jumps. Whoever has set a time limit meets it. The first `skip`
    answers come at once.
    """

    def __init__(self, store: Any, skip: int = 0) -> None:
        super().__init__(store)
        self._skip = skip

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        self._skip -= 1
        if self._skip >= 0:
            return
        await an_hour_of_the_loop()


@dataclass
class Call:
    """A call of a store's method, or that the app began to answer."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    done: bool = False


class Watched(Before):
    """A store that notes in `calls` what is called. Several may share one list."""

    def __init__(self, store: Any, calls: list[Call] | None = None) -> None:
        super().__init__(store)
        self.calls: list[Call] = [] if calls is None else calls

    async def _before(self, name: str, args: Any, kwargs: Any) -> None:
        self.calls.append(Call(name, args, kwargs))

    def _ended(self, name: str) -> None:
        next(each for each in self.calls if each.name == name and not each.done).done = True


@contextmanager
def noting_answers(calls: list[Call]) -> Iterator[None]:
    """Note among the calls when an app begins to answer, under the name `ANSWER`."""
    import pytest
    from fastapi import FastAPI

    original = FastAPI.__call__

    async def call(app: Any, scope: Any, receive: Any, send: Any) -> None:
        async def note(message: Any) -> None:
            if message["type"] == "http.response.start":
                under_way = [each.name for each in calls if not each.done]
                calls.append(Call(ANSWER, (message["status"],), {"under_way": under_way}, True))
            await send(message)

        await original(app, scope, receive, note)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastAPI, "__call__", call)
        yield


def late(calls: list[Call]) -> list[str]:
    """Return what was called after an answer, or was not done by then: the caller heard a lie.

    Give what runs in the background a moment first: `client.run(asyncio.sleep(0.01))`.
    """
    names = [call.name for call in calls]
    if ANSWER not in names:
        return []
    at = names.index(ANSWER)
    return calls[at].kwargs["under_way"] + [name for name in names[at:] if name != ANSWER]


@contextmanager
def in_place(app: Any, get: Callable[..., Any], store: Any) -> Iterator[Any]:
    """Let an app's routes have this store instead of what `get` hands out, and yield it.

    It takes the place of what `get` opens. FastAPI's own `dependency_overrides` would take every
    dependency apart anew at each request, which takes longer than most requests.
    """
    import pytest

    opens = next(name for name in get.__code__.co_names if name.startswith("open_"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(get.__globals__, opens, lambda: store)
        yield store
