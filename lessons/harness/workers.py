"""Two workers of one app: each has the module, an event loop and connections of its own.

What they share is one SQLite file. A tap before each one's database notes the statements, lets all
stand still where they have looked, and breaks when it is told to.
"""

import asyncio
import re
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from contextvars import ContextVar
from functools import cache
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from lessons.harness.candidate import Candidate, _state, crash_line
from lessons.harness.client import body_of
from lessons.harness.elsewhere import elsewhere, in_development
from lessons.harness.escapes import contained
from lessons.harness.postgresql import (
    ADVISORY,
    BEGIN,
    ISOLATED,
    ROWS,
    SETTING,
    TABLES,
    is_look,
    locks,
    mode_of,
    refuse,
    refuse_isolated,
    with_old_copies,
)
from lessons.harness.race import Crowd
from lessons.harness.transcript import Transcript, show
from lessons.harness.verdicts import Refused
from lessons.harness.wire import Wire

T = TypeVar("T")
DRIVER = "connection to db-4711.internal failed: password of user app is hunter2"
SECONDS = 10  # a call that takes longer never ends

OWNERS = ("username", "owner")  # columns that name somebody
Field = tuple[str, Any, str]  # a table, the key of a row, a column

BEFORE = "before_"  # the tables as they were when two began at once


@cache
def empty_file() -> bytes:
    """Return a database file with all tables, and nothing in them."""
    from solutions.stores.sql.migrate import versions

    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE migrations (number bigint PRIMARY KEY)")
    for number, file in sorted(versions().items()):
        connection.executescript(file.read_text("utf-8"))
        connection.execute("INSERT INTO migrations (number) VALUES (?)", (number,))
    connection.commit()
    return connection.serialize()


def fill(path: Path, people: Iterable[Any]) -> None:
    """Make a database file with these people in it."""
    from solutions.stores.sql.users import to_row

    path.write_bytes(empty_file())
    with sqlite3.connect(path) as connection:
        for person in people:
            row = to_row(person)
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            connection.execute(f"INSERT INTO users ({names}) VALUES ({values})", row)  # noqa: S608
    connection.close()


@cache
def tables() -> dict[str, list[str]]:
    """Return the names of all tables, and of their columns."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(empty_file())
    names = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    found = {
        name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names
    }
    connection.close()
    return found


def _any(column: str, who: str) -> str | int:
    """Return what may stand in a column."""
    is_number = column in ("number", "disabled") or column.endswith(("_at", "_seen"))
    return 1 if is_number else f"{column} of {who}"


@cache
def _file() -> type[Any]:
    """Return the class of a database in a file that does without threads wherever it can."""
    from solutions.stores.sql.sqlite import SqliteDatabase, _without_values

    class File(SqliteDatabase):
        """A statement runs in a thread only while another task of this worker is in a block.

        Then it may have to wait for that, and the loop goes on. A thread costs more than most
        statements do.
        """

        _blocks = 0

        @asynccontextmanager
        async def transaction(self, *begin: str) -> AsyncIterator[None]:
            if self._held.get():
                yield
                return
            self._blocks += 1
            try:
                async with super().transaction(*begin):
                    yield
            finally:
                self._blocks -= 1

        async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
            if self._blocks > bool(self._held.get()):
                return await super()._in_thread(function, *args)
            try:
                return function(*args)
            except sqlite3.Error as error:
                raise _without_values(error) from None

    return File


class Block:
    """A transaction that is under way, and the lock that it holds until its end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.is_over = False  # then a task that was begun in it is in none
        self.holds = False
        self.advice: set[str] = set()  # which locks of that kind it holds
        self.isolation = ""  # of PostgreSQL, if it is another one than usual


class PostgresLocks:
    """What workers wait for in PostgreSQL: one lock on all tables and rows, and those of advice.

    Of these there is one for each number, and a number comes from a text or a value.
    """

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}

    @asynccontextmanager
    async def taken(self, which: str) -> AsyncIterator[None]:
        """Hold a lock until the block ends."""
        lock = self._locks.setdefault(which, threading.Lock())
        while not lock.acquire(blocking=False):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        try:
            yield
        finally:
            lock.release()


class Tap:
    """A `Database` that stands before another one."""

    def __init__(self, database: Any) -> None:
        self.dialect = database.dialect
        self.statements: list[str] = []
        self.values: list[dict[str, Any]] = []
        self.crowd: Crowd | None = None
        self.breaks: Callable[[str], bool] = lambda _: False  # asked of each statement
        self.breaks_late = False  # it is done, and the answer is lost
        self.broken = 0  # how often it has broken
        self.events: list[tuple[str, str]] = []  # which write begins and ends, in their order
        self.begun: list[str] = []  # what was said in transactions, first of all
        self.has_locked = False  # so that others wait, in PostgreSQL
        self.has_written = False  # since both began at once
        self._database = database
        self._block: ContextVar[Block | None] = ContextVar("block", default=None)
        self._looks = 0

    async def run(self, sql: str, **values: Any) -> list[Any]:
        """Run one statement, as the database does."""
        self._note(sql, values)
        self._break(sql, is_late=False)
        if is_look(sql):
            rows = await self._run(sql, values)
            self._looks += 1
            if self.crowd:
                self.crowd.gather(f"look {self._looks}")
        else:
            self.events.append(("begins", sql))
            rows = await self._write(sql, values)
            self.events.append(("ends", sql))
        self._break(sql, is_late=True)
        return rows

    @asynccontextmanager
    async def transaction(self, *begin: str) -> AsyncIterator[None]:
        """Let the statements of a block be one step, as the database does."""
        if self._current:
            yield
            return
        async with AsyncExitStack() as stack:
            block = Block(stack)
            for sql in begin:
                self._note(sql, {})
                self.begun.append(sql)
                self._break(sql, is_late=False)
            await self._begin(block, begin)
            before = self._block.set(block)
            try:
                yield
            finally:
                block.is_over = True
                self._block.reset(before)
            self._break("COMMIT", is_late=False)
        self._break("COMMIT", is_late=True)

    @property
    def _current(self) -> Block | None:
        block = self._block.get()
        return None if block is None or block.is_over else block

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()

    async def _begin(self, block: Block, begin: tuple[str, ...]) -> None:
        opened = self._database.transaction(*begin)
        locks = any(re.search(r"\b(IMMEDIATE|EXCLUSIVE)\b", sql, re.I) for sql in begin)
        if (locks or len(begin) > 1) and self.crowd:
            opened, block.holds = self.crowd.lock(opened), True
        await block.stack.enter_async_context(opened)

    async def _write(self, sql: str, values: dict[str, Any]) -> list[Any]:
        block = self._current
        if self.crowd and block is None:
            with self.crowd.in_line():
                return await self._run(sql, values)
        if self.crowd is None or block is None or block.holds:
            return await self._run(sql, values)
        rows: list[Any] = []

        @asynccontextmanager
        async def by_writing() -> AsyncIterator[None]:
            nonlocal rows
            rows = await self._run(sql, values)
            yield

        await block.stack.enter_async_context(self.crowd.lock(by_writing()))
        block.holds = True
        return rows

    async def _run(self, sql: str, values: dict[str, Any]) -> list[Any]:
        return list(await self._database.run(sql, **values))

    def _note(self, sql: str, values: dict[str, Any]) -> None:
        self.statements.append(sql)
        self.values.append(values)

    def _break(self, sql: str, is_late: bool) -> None:
        from solutions.stores.sql.database import StoreDown

        if is_late == self.breaks_late and self.breaks(sql):
            self.broken += 1
            try:
                raise sqlite3.OperationalError(DRIVER)
            except sqlite3.OperationalError:
                raise StoreDown from None


class Postgres(Tap):
    """PostgreSQL as far as races go: each statement alone sees what others have done by then.

    No server is asked. A lock that PostgreSQL knows makes others wait, and SQLite keeps the rows.
    """

    def __init__(self, database: Any, locks: PostgresLocks) -> None:
        super().__init__(database)
        self.dialect = "postgresql"
        self._locks = locks

    async def _begin(self, block: Block, begin: tuple[str, ...]) -> None:
        if begin and not BEGIN.match(begin[0]):
            raise Refused("On PostgreSQL a transaction begins with BEGIN.")
        for sql in begin:
            self._hear(block, sql)
            await self._take(block, sql, {})
            if not (BEGIN.match(sql) or SETTING.match(sql) or mode_of(sql) or locks(sql)):
                await self._run(sql, {})

    async def run(self, sql: str, **values: Any) -> list[Any]:
        """Run one statement, as PostgreSQL does."""
        self._hear(self._current, sql)
        return await super().run(sql, **values)

    def _hear(self, block: Block | None, sql: str) -> None:
        """Refuse what lets somebody not wait, or look at what was before."""
        refuse(sql)
        if block is None:
            return
        if (BEGIN.match(sql) or SETTING.match(sql)) and (found := ISOLATED.search(sql)):
            block.isolation = " ".join(found[0].upper().split())
        is_control = BEGIN.match(sql) or SETTING.match(sql) or mode_of(sql)
        if block.isolation and not block.holds and not is_control:
            refuse_isolated(block.isolation)

    async def _write(self, sql: str, values: dict[str, Any]) -> list[Any]:
        block = self._current
        is_first, self.has_written = not self.has_written, True
        if SETTING.match(sql) or mode_of(sql) or locks(sql):
            if block is None and not (ROWS.search(sql) or SETTING.match(sql)):
                raise Refused(f"Outside of a transaction it holds nothing: {sql}")
            if block:
                await self._take(block, sql, values)
            if not ROWS.search(sql):
                return []
        elif not (block and block.holds):  # a row or table that somebody else has locked
            if self.crowd and is_first:
                sql = with_old_copies(sql, BEFORE)
            async with self._waiting_for(""):
                return await self._run(sql, values)
        return await self._run(ROWS.sub("", sql), values)

    async def _run(self, sql: str, values: dict[str, Any]) -> list[Any]:
        return [] if SETTING.match(sql) else await super()._run(sql, values)

    async def _take(self, block: Block, sql: str, values: dict[str, Any]) -> None:
        self.begun.append(sql)
        self.has_locked = self.has_locked or locks(sql)
        which = f"{sql} {values}" if ADVISORY.search(sql) else ""
        if locks(sql) and not block.holds and which not in block.advice:
            await block.stack.enter_async_context(self._waiting_for(which))
            block.holds = not which
            block.advice.add(which)

    def _waiting_for(self, which: str) -> AbstractAsyncContextManager[None]:
        taken = self._locks.taken(which)
        return self.crowd.lock(taken) if self.crowd else taken


class Worker:
    """A process that serves the app, as far as the app can tell."""

    def __init__(
        self, name: str, module: ModuleType, path: Path, graded: Candidate, transcript: Transcript
    ) -> None:
        self.name = name
        self.module = module
        self.database = Tap(_file()(path, 4))
        self._file = self.database._database
        self._graded, self._transcript = graded, transcript
        self._stores: dict[tuple[ModuleType, str], Any] = {}
        self._loop = asyncio.new_event_loop()
        self._life: asyncio.Task[None] | None = None
        self._orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._wire = Wire(module.app)
        self._wire.scheme, self._wire.keeps_cookies = "https", False
        self._callers = 0

    def on_postgresql(self, locks: PostgresLocks) -> None:
        """Let what follows find PostgreSQL, as far as races go."""
        self.database = Postgres(self._file, locks)
        self._stores.clear()

    @property
    def users(self) -> Any:
        """The people, by the class that is graded."""
        return self._store("Users")

    @property
    def refresh_tokens(self) -> Any:
        """The refresh tokens, by the class that is graded."""
        return self._store("RefreshTokens")

    def _store(self, name: str) -> Any:
        """Return the store of that name: a process has one."""
        which = self.module, name
        if which not in self._stores:
            self._stores[which] = getattr(self.module, name)(self.database)
        return self._stores[which]

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a call to its end, as a task of its own."""
        try:
            with contained():
                return self._loop.run_until_complete(asyncio.wait_for(coroutine, SECONDS))
        except NotImplementedError as error:
            raise self._graded.unfinished(error) from None
        except TimeoutError:
            raise AssertionError(f"A call took more than {SECONDS} seconds.") from None
        except Exception as error:
            error.add_note(crash_line(error, self._graded))
            raise

    def request(self, method: str, url: str, **send: Any) -> Any:
        """Send one request to the app of this worker, which begins to serve with the first."""
        if self._life is None:
            self.start()
        self._callers += 1
        send.setdefault("client", (f"203.0.113.{self._callers % 250 + 1}", 9))
        try:
            answer = self.run(self._wire.request(method, url, **send))
        except Exception as error:
            if not hasattr(error, "__notes__"):
                raise
            told = error.__notes__[-1]
            self._tell(method, url, send, f"500 {told}", lambda: None)
            raise AssertionError(f"The app crashed, a 500: {told}") from error
        self._tell(method, url, send, str(answer.status_code), lambda: body_of(answer))
        return answer

    def tell(self, name: str, args: tuple[Any, ...], end: str) -> None:
        """Note a call of one of its stores for the learner, and how it ended."""
        shown = ", ".join(show(getattr(each, "username", each)) for each in args)
        self.tell_of(f"{name}({shown})", end)

    def tell_of(self, what: str, end: str) -> None:
        """Note what was done at this worker, and how it ended."""
        self._transcript.part(f"{what} at the {self.name} worker", end)

    def _tell(self, method: str, url: str, send: Any, end: str, body: Callable[[], Any]) -> None:
        sent = {name: send[name] for name in send if name != "client"}
        self._transcript.request(method, f"{url}  ({self.name} worker)", sent, end, body)

    def start(self) -> None:
        """Begin to serve: the app opens its database."""
        import pytest

        from solutions.stores.sql import sqlite

        started = asyncio.Event()

        async def tell(message: Any) -> None:
            assert not message["type"].endswith("failed"), message
            started.set()

        async def begin() -> None:
            scope = {"type": "lifespan", "state": {}}
            self._life = asyncio.create_task(self.module.app(scope, self._orders.get, tell))
            self._orders.put_nowait({"type": "lifespan.startup"})
            waits = asyncio.create_task(started.wait())
            await asyncio.wait([self._life, waits], return_when=asyncio.FIRST_COMPLETED)
            waits.cancel()
            if not started.is_set():
                await self._life

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite, "SqliteDatabase", lambda *_: self.database)
            self.run(begin())

    def close(self) -> None:
        """End the app, and close the file."""
        self.database.breaks = lambda _: False

        async def end() -> None:
            if self._life:
                self._orders.put_nowait({"type": "lifespan.shutdown"})
                with suppress(Exception):
                    await self._life
            await self._file.close()

        with suppress(Exception):
            self._loop.run_until_complete(end())
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with suppress(Exception, asyncio.CancelledError):
            self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


_copies: dict[ModuleType, tuple[ModuleType, object]] = {}


def another(module: ModuleType) -> ModuleType:
    """Return the module a second time, as another process has it: nothing in it is shared."""
    copy, clean = _copies.get(module, (None, None))
    if copy is None or _state(copy) != clean:
        spec = module.__spec__
        assert spec and spec.loader
        copy = module_from_spec(spec)
        spec.loader.exec_module(copy)
        _copies.clear()
        _copies[module] = copy, _state(copy)
    return copy


class Workers:
    """Two workers on one file."""

    def __init__(self, path: Path, graded: Candidate, transcript: Transcript) -> None:
        module = sys.modules[graded.lesson.module]
        self.path = path
        self._transcript = transcript
        self._reader: sqlite3.Connection | None = None
        self._fields: dict[Field, Any] = {}
        self._version: int | None = None  # of the file, when it was read
        self.one = Worker("first", module, path, graded, transcript)
        self.other = Worker("second", another(module), path, graded, transcript)
        self.both = self.one, self.other

    def on_postgresql(self) -> None:
        """Let what follows find PostgreSQL, as far as races go."""
        locks = PostgresLocks()
        for worker in self.both:
            worker.on_postgresql(locks)
        self._transcript.clear()  # what went well on SQLite is not of the story

    def at_once(self, call: Callable[[Worker], T], *others: Callable[[Worker], T]) -> list[T]:
        """Let both do the same at once, or each its own: both look before one of them acts."""
        crowd = Crowd(2)
        self.one.database.events = self.other.database.events = []
        with self._in(crowd):
            calls = (call, *others) if others else (call, call)
            pairs = zip(calls, self.both, strict=True)
            return crowd.run([lambda each=each, at=at: each(at) for each, at in pairs])

    def after_a_look(self) -> None:
        """In a call of `at_once`: wait until the other one has looked, or is done without."""
        if crowd := self.one.database.crowd:
            crowd.follow("look 1")

    @contextmanager
    def _in(self, crowd: Crowd) -> Any:
        if self.one.database.dialect == "postgresql":
            self._keep_as_before()
        for worker in self.both:
            worker.database.crowd, worker.database._looks = crowd, 0
            worker.database.has_written = False
        try:
            yield
        finally:
            for worker in self.both:
                worker.database.crowd = None

    def _keep_as_before(self) -> None:
        """Copy the tables: a statement that waits sees them as they are now."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                connection.execute(f"DROP TABLE IF EXISTS {BEFORE}{table}")
                connection.execute(f"CREATE TABLE {BEFORE}{table} AS SELECT * FROM {table}")  # noqa: S608
            connection.execute("COMMIT")

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """Look into the file, or change it, as nobody's worker does."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql, values).fetchall()

    def fields(self) -> dict[Field, Any]:
        """Return all that is kept, by its table, its row and its column."""
        if self._reader is None:
            self._reader = sqlite3.connect(self.path, check_same_thread=False)
        [(version,)] = self._reader.execute("PRAGMA data_version").fetchall()
        if version != self._version:
            self._fields, self._version = dict(self._read(self._reader)), version
        return self._fields

    def _read(self, connection: sqlite3.Connection) -> Iterator[tuple[Field, Any]]:
        for table, columns in tables().items():
            for row in connection.execute(f"SELECT * FROM {table}").fetchall():  # noqa: S608
                for column, value in zip(columns, row, strict=True):
                    yield (table, row[0], column), value

    def furnish(self, *people: str) -> None:
        """Keep a row of each of these people in every table that no graded method knows."""
        with closing(sqlite3.connect(self.path)) as connection:
            for table, columns in tables().items():
                if table in TABLES:
                    continue
                for who in people:
                    row = [who if name in OWNERS else _any(name, who) for name in columns]
                    marks = ", ".join("?" * len(row))
                    connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608
            connection.commit()

    @contextmanager
    def elsewhere(self) -> Iterator[Worker]:
        """Let the second worker be another process in the block, in development, a year later."""
        with in_development(), elsewhere(self.one.module.__name__) as module:
            ours, self.other.module = self.other.module, module
            try:
                yield self.other
            finally:
                self.other.module = ours

    def close(self) -> None:
        """End both."""
        if self._reader:
            self._reader.close()
        for worker in self.both:
            worker.close()
