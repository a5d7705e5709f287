"""psycopg's connections as the engine gets them: none waits for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from sqlalchemy import exc
from sqlalchemy.engine.interfaces import DBAPIConnection

from ..sql.database import PATIENCE
from ..sql.postgres import in_time, options_for


class BoundedConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection that hangs up on a server that stands still.

    All that it sends goes through `wait`: statements, and what SQLAlchemy's pool sends by itself.
    """

    patience = PATIENCE

    async def wait(self, *args: Any, **named: Any) -> Any:
        """Wait for an answer, but not for long."""
        with in_time(self, self.patience):
            return await super().wait(*args, **named)


def connecting(url: str, patience: float) -> Callable[[], Awaitable[BoundedConnection]]:
    """Return what opens a connection to the server of an address.

    `patience` is how many seconds a statement may take.
    """
    options = options_for(patience)

    async def connect() -> BoundedConnection:
        try:
            async with asyncio.timeout(PATIENCE):  # the least that libpq knows is two seconds
                opened = await BoundedConnection.connect(url, autocommit=True, options=options)
        except TimeoutError:
            raise psycopg.OperationalError("no answer") from None
        opened.patience = patience
        return opened

    return connect


def look(connection: DBAPIConnection, *rest: object) -> None:
    """Let the pool open another connection when nobody is at the other end of this one any more.

    In the place of `pool_pre_ping`, which asks before each statement: that is twice the way.
    """
    try:
        for _ in range(2):  # a server that ends may have said why, and then it has hung up
            connection.driver_connection.pgconn.consume_input()
    except psycopg.OperationalError:
        raise exc.DisconnectionError from None
