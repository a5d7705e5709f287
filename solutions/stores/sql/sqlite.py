"""SQLite, by the standard library. Its calls block, so each one runs in a thread."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from .database import CONNECTIONS, PATIENCE, Dialect, Row, StoreDown, Value, check
from .held import Held

T = TypeVar("T")

# A journal that readers need not wait for, and that a loss of power leaves whole.
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")


class SqliteDatabase:
    """A `Database` in a file. Several processes may have it open; one at a time writes."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path, connections: int = CONNECTIONS) -> None:
        self._path = path
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
                free = await self._in_thread(_connect, self._path)
            yield free
        finally:
            self._free.put_nowait(free)

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, function, *args)
        try:
            return await asyncio.shield(work)
        except sqlite3.DatabaseError as error:
            if _is_our_fault(error):
                raise
            raise StoreDown from None
        except asyncio.CancelledError:
            await asyncio.wait([work])  # SQLite goes on with it: the connection is not free
            raise


def _is_our_fault(error: sqlite3.DatabaseError) -> bool:
    """Tell whether the statement is wrong, and not the file, the disk, or a lock."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return True
    return error.sqlite_errorcode == sqlite3.SQLITE_ERROR


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, PATIENCE, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _rows(connection: sqlite3.Connection, sql: str, values: dict[str, Value]) -> list[Row]:
    return [dict(row) for row in connection.execute(sql, values)]
