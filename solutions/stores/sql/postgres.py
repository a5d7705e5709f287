"""PostgreSQL, by psycopg 3 and its pool."""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

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

Connection = psycopg.AsyncConnection[DictRow]

NAME = re.compile(r":(\w+)")

GIVE_UP = 10  # seconds; a pool that tries for longer also waits longer between two tries


class PostgresDatabase:
    """A `Database` in a server, by a pool of connections."""

    dialect: Dialect = "postgresql"

    def __init__(
        self, url: str, connections: int = CONNECTIONS, patience: float = PATIENCE
    ) -> None:
        """Take a URL. Raises ValueError for one that cannot be read."""
        _check(url)
        self._patience = patience
        self._held: Held[Connection] = Held()
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=PATIENCE,
            reconnect_timeout=GIVE_UP,
            check=_is_whole,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "connect_timeout": 2,  # the least that libpq knows
                "options": options_for(patience),
            },
        )

    async def open(self) -> None:
        """Begin to connect. A server that is not there yet is no error."""
        await self._pool.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def run(self, sql: str, **values: Value) -> list[Row]:
        """Run one statement with its `:names` filled in, and return the rows that it yields."""
        check(values)
        if connection := self._held.get():
            return await self._rows(connection, sql, values)
        async with self._connection() as connection:
            return await self._rows(connection, sql, values)

    @asynccontextmanager
    async def transaction(self, *begin: str) -> AsyncIterator[None]:
        """Let the statements of a block be one step."""
        if self._held.get():
            yield
            return
        async with self._connection() as connection:
            try:
                for statement in begin or ("BEGIN",):
                    await self._rows(connection, statement, {})
                with self._held.by(connection):
                    yield
                await self._rows(connection, "COMMIT", {})
            except BaseException:
                with suppress(StoreDown):  # then the server undoes it
                    await self._rows(connection, "ROLLBACK", {})
                raise

    async def _rows(self, connection: Connection, sql: str, values: dict[str, Value]) -> list[Row]:
        with _or_down(), in_time(connection, self._patience):
            cursor = await connection.execute(_for_psycopg(sql), values)
            # Not `cursor.description`: it builds as many objects as there are columns.
            has_rows = cursor.pgresult is not None and cursor.pgresult.nfields > 0
            return [*await cursor.fetchall()] if has_rows else []

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with _or_down():
            connection = await self._pool.getconn()
        try:
            yield connection
        finally:
            await self._pool.putconn(connection)


def options_for(patience: float) -> str:
    """Return what the server gives up by itself, so that nothing stays locked for one who is gone.

    To wait for a lock is never a matter of patience: others wait behind who does.
    """
    seconds = {
        "statement_timeout": patience,
        "lock_timeout": PATIENCE,
        "idle_in_transaction_session_timeout": patience,
    }
    return " ".join(f"-c {name}={int(value * 1000)}" for name, value in seconds.items())


def _check(url: str) -> None:
    """Raise ValueError for a URL that libpq takes apart in another way than it is meant.

    Of a password with `/` or `@` in it a part would be a port or a host, and the pool logs those.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # its text quotes the password
        parts = {"port": "none"}
    ports = str(parts.get("port", "5432")).split(",")
    if "@" in str(parts.get("host", "")) or not all(map(str.isdecimal, filter(None, ports))):
        raise ValueError("it cannot be read. In a password write %25 for %, %2F for /, %40 for @")


async def _is_whole(connection: Connection) -> None:
    """Raise an error for a connection at whose other end nobody is any more.

    It looks at the socket and asks nobody: a question before each statement is twice the way.
    """
    for _ in range(2):  # a server that ends may have said why, and then it has hung up
        connection.pgconn.consume_input()


@cache  # as many as there are statements in the code
def _for_psycopg(sql: str) -> bytes:
    return NAME.sub(r"%(\1)s", sql.replace("%", "%%")).encode()


@contextmanager
def _or_down() -> Iterator[None]:
    try:
        yield
    except psycopg.IntegrityError as error:
        raise Conflict(error.diag.constraint_name or type(error).__name__) from None
    except psycopg.ProgrammingError as error:  # it quotes the statement, without values
        raise WrongStatement(error.diag.message_primary or type(error).__name__) from None
    except psycopg.DataError as error:
        raise WrongStatement(type(error).__name__) from None
    except psycopg.Error:
        raise StoreDown from None  # its text names the server, and may quote values


@contextmanager
def in_time(connection: psycopg.AsyncConnection[Any], patience: float) -> Iterator[None]:
    """Hang up on a server that has not answered by the end of the block, or of our patience."""
    # Not `asyncio.timeout`: psycopg would ask the server to cancel, and wait for its answer. One
    # that stands still answers neither.
    clock = asyncio.get_running_loop().call_later(patience + 0.1, _hang_up, connection)
    try:
        yield
    finally:
        clock.cancel()


def _hang_up(connection: psycopg.AsyncConnection[Any]) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
