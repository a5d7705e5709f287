"""The stores on SQLAlchemy, for the tests that hold for all stores."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lessons.harness.any_loop import AnyLoop
from solutions.stores.alchemy.app import stores_on
from solutions.stores.alchemy.engine import AlchemyDatabase, open_alchemy
from solutions.stores.alchemy.flows import AlchemyFlows
from solutions.stores.alchemy.sessions import AlchemySessions
from solutions.stores.chosen import Stores
from solutions.stores.sql.database import CONNECTIONS
from tests.contract import Kind


class _Either:
    """Runs plain SQL, and SQLAlchemy's statements in the same place."""

    def __init__(self, database: AlchemyDatabase) -> None:
        self._database = database
        self.dialect, self.transaction = database.dialect, database.transaction

    async def run(self, statement: Any, **values: Any) -> Any:
        if isinstance(statement, str):
            return await self._database.run(statement, **values)
        return await self._database.rows(statement)


class AlchemyAnyLoop(AnyLoop):
    """An `AlchemyDatabase` for all loops."""

    def __init__(self, url: str) -> None:
        super().__init__(url, CONNECTIONS, open_alchemy)
        opened: Any = self._database
        self._database: Any = _Either(opened)

    async def rows(self, statement: Any) -> Any:
        """Run one statement, and return its rows."""
        return await self.run(statement)

    async def all(self, statement: Any) -> Any:
        """Run one statement, and return the first thing of each row."""
        return [row[0] for row in await self.rows(statement)]

    async def first(self, statement: Any) -> Any:
        """Run one statement, and return the first thing of its first row, or None."""
        return next(iter(await self.all(statement)), None)

    async def do(self, statement: Any) -> None:
        """Run one statement."""
        await self.run(statement)


class AlchemyKind(Kind):
    """Makes empty stores on SQLAlchemy."""

    def again(self, max_pre_sessions: int = 10_000, max_flows: int = 20_000) -> Stores:
        """Return stores on the same rows, as another worker has them."""
        database: Any = self.database
        return replace(
            stores_on(database),
            sessions=AlchemySessions(database, max_pre_sessions),
            flows=AlchemyFlows(database, max_flows),
        )


@contextmanager
def alchemy_kind_on(url: str, name: str) -> Iterator[Kind]:
    """Open a database that has all tables, for every thread and loop of the tests."""
    database = AlchemyAnyLoop(url)
    yield AlchemyKind(name, database)
    database.close()
