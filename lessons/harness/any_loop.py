"""A database that every thread and every event loop may use, as the races of the lessons do.

The one of `solutions/stores/sql` belongs to the loop that opened it. So it gets a loop in a thread
of its own, and each statement goes there and comes back.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from solutions.stores.sql.database import CONNECTIONS, Database, Dialect, Row, Value
from solutions.stores.sql.held import Held
from solutions.stores.sql.opening import open_database


class AnyLoop:
    """A `Database` for all loops."""

    dialect: Dialect

    def __init__(
        self, url: str, connections: int = CONNECTIONS, opening: Callable[..., Any] = open_database
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self._held: Held[_Step] = Held()
        opened = opening(url, connections)
        self._database: Database = self.wait(self._stack.enter_async_context(opened))
        self.dialect = self._database.dialect

    def close(self) -> None:
        """Close the database, and end the thread."""
        self.wait(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine over there, and let this thread wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def now(self, sql: str, **values: Value) -> list[Row]:
        """Run one statement, for tests that look into the tables."""
        rows: list[Row] = self.wait(self._database.run(sql, **values))
        return rows

    async def run(self, sql: str, **values: Value) -> list[Row]:
        """Run one statement, in this task's transaction if there is one."""
        step = self._held.get()
        rows: list[Row] = await self._there(
            step.run(sql, values) if step else self._database.run(sql, **values)
        )
        return rows

    @asynccontextmanager
    async def transaction(self, *begin: str) -> AsyncIterator[None]:
        """Let the statements of a block be one step. A task over there holds the connection."""
        if self._held.get():
            yield
            return
        step = _Step(self._database, begin)
        try:
            await self._there(step.begin())
            with self._held.by(step):
                yield
        except BaseException:
            await self._there(step.end(undo=True))
            raise
        await self._there(step.end(undo=False))

    async def _there(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))


class _Undo(Exception):
    """What ends a transaction that is to leave no trace."""


class _Step:
    """A transaction, in a task of its own, which does what it is asked to until its end."""

    def __init__(self, database: Database, begin: tuple[str, ...]) -> None:
        self._database, self._begin = database, begin
        self._asked: asyncio.Queue[tuple[str, dict[str, Value], Future[list[Row]]] | None]
        self._asked = asyncio.Queue()
        self._undo = False
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Begin the transaction."""
        has_begun = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._work(has_begun))
        await asyncio.wait({has_begun, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()

    async def run(self, sql: str, values: dict[str, Value]) -> list[Row]:
        """Run one statement in it."""
        done: Future[list[Row]] = Future()
        self._asked.put_nowait((sql, values, done))
        return await asyncio.wrap_future(done)

    async def end(self, undo: bool) -> None:
        """End it; nothing of it stays if it is to be undone."""
        self._undo = undo
        self._asked.put_nowait(None)
        if self._task and not (undo and self._task.done()):
            await self._task

    async def _work(self, has_begun: "asyncio.Future[None]") -> None:
        try:
            async with self._database.transaction(*self._begin):
                has_begun.set_result(None)
                while asked := await self._asked.get():
                    await self._answer(*asked)
                if self._undo:
                    raise _Undo
        except _Undo:
            pass

    async def _answer(self, sql: str, values: dict[str, Value], done: "Future[list[Row]]") -> None:
        try:
            rows = await self._database.run(sql, **values)
        except Exception as error:
            answer, fault = [], error
        else:
            answer, fault = rows, None
        if done.set_running_or_notify_cancel():
            done.set_exception(fault) if fault else done.set_result(answer)
