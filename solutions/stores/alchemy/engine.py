"""SQLAlchemy's engine for both databases: one statement, one step, and how they fail."""

import asyncio
import logging
import sqlite3
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import URL, CursorResult, Executable, Row, event, exc, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.sql.selectable import TypedReturnsRows

from ...support.settings import UnsafeSettings
from ..sql.database import (
    CONNECTIONS,
    PATIENCE,
    Conflict,
    Dialect,
    StoreDown,
    Value,
    WrongStatement,
    check,
)
from ..sql.database import Row as PlainRow
from ..sql.held import Held
from ..sql.opening import SQLITE
from ..sql.sqlite import PRAGMAS

T = TypeVar("T")

SQLALCHEMY_LOG = "sqlalchemy.engine.Engine"

# What comes back replaces what a session remembers: statements change rows behind its back.
FRESH = {"populate_existing": True, "synchronize_session": False}


class AlchemyDatabase:
    """A database by SQLAlchemy. It is a `Database` as well, for those who write SQL.

    Its connections commit by themselves, so that a lone statement is one way there and back. What
    takes several is a transaction that says so.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.dialect: Dialect = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"
        self._held: Held[AsyncSession] = Held()

    async def do(self, statement: Executable) -> None:
        """Run one statement."""
        await self.rows(statement)

    async def first(self, statement: TypedReturnsRows[T]) -> T | None:
        """Run one statement, and return the first thing that it yields, or None."""
        things = await self.all(statement)
        return things[0] if things else None

    async def all(self, statement: TypedReturnsRows[T]) -> list[T]:
        """Run one statement, and return the things that it yields."""
        return [row[0] for row in await self.rows(statement)]

    async def rows(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        """Run one statement, and return its rows, of one thing or several."""

        async def ask(session: AsyncSession) -> Sequence[Row[*tuple[Any, ...]]]:
            result = await session.execute(statement, execution_options=FRESH)
            has_none = isinstance(result, CursorResult) and not result.returns_rows
            return [] if has_none else result.all()

        return await self._ask(ask)

    async def run(self, sql: str, **values: Value) -> list[PlainRow]:
        """Run one statement of plain SQL, and return the rows that it yields."""

        async def ask(session: AsyncSession) -> list[PlainRow]:
            result = await (await session.connection()).execute(text(sql), values)
            return [*result.mappings()] if result.returns_rows else []

        return await self._ask(ask)

    @asynccontextmanager
    async def transaction(self, *begin: str) -> AsyncIterator[None]:
        """Let the statements of a block be one step: all of them are done, or none."""
        if self._held.get():
            yield
            return
        session = AsyncSession(self.engine, expire_on_commit=False)
        try:
            for statement in begin or ("BEGIN",):
                await _whole(_say(session, statement))
            with self._held.by(session):
                yield
            await _whole(_say(session, "COMMIT"))
        finally:
            await _whole(_close(session))  # which undoes what is not committed

    async def connection(self) -> AsyncConnection:
        """Return the connection of the transaction that is under way, for tools that want one."""
        session = self._held.get()
        if session is None:
            raise RuntimeError("no transaction is under way")
        return await session.connection()

    async def _ask(self, ask: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Ask in this task's transaction, or in a session for this alone."""

        async def asked() -> T:
            with _as_ours():
                if session := self._held.get():
                    return await ask(session)
                async with AsyncSession(self.engine, expire_on_commit=False) as alone:
                    return await ask(alone)

        return await _whole(asked())


async def _say(session: AsyncSession, statement: str) -> None:
    with _as_ours():
        await session.execute(text(statement))


async def _close(session: AsyncSession) -> None:
    with suppress(StoreDown), _as_ours():
        await session.close()


async def _whole(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await something to its end, also when who waits is cancelled meanwhile, however often.

    A statement that is left half-way leaves a connection in nobody's hands. All of them are short.
    """
    task = asyncio.create_task(coroutine)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    task.exception()  # nobody asks for it any more
    raise cancelled


@asynccontextmanager
async def open_alchemy(
    url: str, connections: int = CONNECTIONS, patience: float = PATIENCE
) -> AsyncIterator[AlchemyDatabase]:
    """Open the database of a DATABASE_URL until the block ends.

    `patience` is how many seconds a statement may take.
    Raises UnsafeSettings where a driver is missing.
    """
    for name, may_say in ((SQLALCHEMY_LOG, _is_no_row), ("aiosqlite", _is_not_for_debugging)):
        logging.getLogger(name).addFilter(may_say)
    engine = _engine(url, connections, patience)
    event.listen(engine.sync_engine, "before_cursor_execute", _check_values)
    try:
        yield AlchemyDatabase(engine)
    finally:
        await engine.dispose()


def _engine(url: str, connections: int, patience: float) -> AsyncEngine:
    bounds: dict[str, Any] = {
        "isolation_level": "AUTOCOMMIT",
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": PATIENCE,
        "pool_use_lifo": True,
        "hide_parameters": True,
    }
    try:
        if url.startswith(SQLITE):
            file = URL.create("sqlite+aiosqlite", database=url.removeprefix(SQLITE))
            engine = create_async_engine(file, connect_args={"timeout": patience}, **bounds)
            event.listen(engine.sync_engine, "connect", _set_pragmas)
            return engine
        from .postgres import connecting, look

        # The address goes to the driver alone: an engine's `repr` and errors would show it.
        engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=connecting(url, patience),
            use_native_hstore=False,
            **bounds,
        )
        event.listen(engine.sync_engine, "checkout", look)
        return engine
    except ImportError:
        raise UnsafeSettings(
            "Not started: the database's driver is missing. Type: "
            'pip install "sqlalchemy[asyncio]>=2.1" "aiosqlite>=0.22" "psycopg[binary]>=3.3"'
        ) from None


def _set_pragmas(connection: DBAPIConnection, record: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _check_values(
    connection: object,
    cursor: object,
    statement: str,
    values: Mapping[str, Value] | Sequence[Value],
    *rest: object,
) -> None:
    """Raise Unstorable before a value reaches the driver, whichever statement it is in."""
    named = (
        values if isinstance(values, Mapping) else {str(i): each for i, each in enumerate(values)}
    )
    check(named)


def _is_no_row(record: logging.LogRecord) -> bool:
    """Keep rows out of every log: hashes, digests, addresses (CWE-532).

    `hide_parameters` hides what goes in. What comes out SQLAlchemy says at DEBUG, whatever it is.
    """
    return record.msg != "Row %r"


def _is_not_for_debugging(record: logging.LogRecord) -> bool:
    """Keep statements with their values out, which aiosqlite says at DEBUG."""
    return record.levelno > logging.DEBUG


@contextmanager
def _as_ours() -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        raise _without_values(error) from None
    except (exc.TimeoutError, exc.PendingRollbackError):
        raise StoreDown from None


def _without_values(error: exc.DBAPIError) -> Exception:
    """Return what may be said of a driver's error: its own text may quote a row (CWE-209)."""
    parts = getattr(error.orig, "diag", None)  # PostgreSQL's; SQLite's text names columns only
    name = type(error.orig).__name__
    if isinstance(error, exc.IntegrityError):
        return Conflict(parts.constraint_name or name if parts else str(error.orig))
    is_wrong = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    if is_wrong or isinstance(error, exc.ProgrammingError):
        return WrongStatement(parts.message_primary or name if parts else str(error.orig))
    return WrongStatement(name) if isinstance(error, exc.DataError) else StoreDown()
