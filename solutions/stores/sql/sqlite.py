"""SQLite, by the standard library. Its calls block, so each one runs in a thread."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from .database import (
    CONNECTIONS,
    PATIENCE,
    Conflict,
    Dialect,
    Row,
    StoreDown,
    Value,
    WrongStatement,
    check,
)
from .held import Held

T = TypeVar("T")

# A journal that readers need not wait for, and that a loss of power leaves whole.
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")


class SqliteDatabase:
    """A `Database` in a file. Several processes may have it open; one at a time writes."""

    dialect: Dialect = "sqlite"

    def __init__(
        self, path: Path, connections: int = CONNECTIONS, patience: float = PATIENCE
    ) -> None:
        self._path, self._patience = path, patience
        self._threads = ThreadPoolExecutor(connections, "sqlite")
        self._free: asyncio.LifoQueue[sqlite3.Connection | None] = asyncio.LifoQueue()
        self._held: Held[sqlite3.Connection] = Held()
        for _ in range(connections):
            self._free.put_nowait(None)  # opened when somebody needs it

    async def run(self, sql: str, **values: Value) -> list[Row]:
        """Run one statement with its `:names` filled in, and return the rows that it yields."""
        check(values)
        if connection := self._held.get():
            return await self._in_thread(_rows, connection, sql, values)
        async with self._connection() as connection:
            return await self._in_thread(_rows, connection, sql, values)

    @asynccontextmanager
    async def transaction(self, *begin: str) -> AsyncIterator[None]:
        """Let the statements of a block be one step."""
        if self._held.get():
            yield
            return
        async with self._connection() as connection:
            try:
                for statement in begin or ("BEGIN",):
                    await self._in_thread(_rows, connection, statement, {})
                with self._held.by(connection):
                    yield
                await self._in_thread(connection.commit)
            except BaseException:
                await self._in_thread(connection.rollback)
                raise

    async def close(self) -> None:
        """Close all connections that are not in use."""
        while not self._free.empty():
            if connection := self._free.get_nowait():
                connection.close()
        self._threads.shutdown(wait=False)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[sqlite3.Connection]:
        try:
            async with asyncio.timeout(PATIENCE):
                free = await self._free.get()
        except TimeoutError:
            raise StoreDown from None
        try:
            if free is None:
                free = await self._in_thread(_connect, self._path, self._patience)
            yield free
        finally:
            self._free.put_nowait(free)

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, function, *args)
        try:
            return await asyncio.shield(work)
        except sqlite3.Error as error:
            raise _without_values(error) from None
        except asyncio.CancelledError:
            while not work.done():  # SQLite goes on with it: the connection is not free
                with suppress(asyncio.CancelledError):  # some cancel again and again
                    await asyncio.wait([work])
            raise


def _without_values(error: sqlite3.Error) -> Exception:
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(str(error))  # it names the column
    is_wrong = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    if is_wrong or isinstance(error, sqlite3.ProgrammingError):
        return WrongStatement(str(error))  # it quotes the statement, which has no values in it
    return StoreDown()


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, patience, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _rows(connection: sqlite3.Connection, sql: str, values: dict[str, Value]) -> list[Row]:
    return [dict(row) for row in connection.execute(sql, values)]
