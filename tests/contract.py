"""Stores of every kind for the tests that hold for all of them: memory, SQLite, PostgreSQL."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lessons.harness.any_loop import AnyLoop
from solutions.database import RefreshTokens, Users, stores_on
from solutions.stores.api_keys import MemoryKeyStore
from solutions.stores.chosen import Stores
from solutions.stores.flows import MemoryFlowStore
from solutions.stores.identities import MemoryIdentityStore
from solutions.stores.refresh_tokens import MemoryRefreshStore
from solutions.stores.sessions import MemorySessionStore
from solutions.stores.sql.flows import SqlFlows
from solutions.stores.sql.sessions import SqlSessions
from solutions.stores.users import MemoryUserStore
from tests.slow_stores import SlowKeys, SlowRefreshTokens, SlowSessions, SlowUsers

__all__ = ["TABLES", "Kind", "RefreshTokens", "Users", "at_once", "stores_on"]

TABLES = (
    *("users", "refresh_tokens", "revoked_families", "api_keys"),
    *("sessions", "flows", "identities"),
    *("tenant_keys", "invitations", "items", "memberships", "tenants"),  # who is referred to, last
)
Bounds = dict[str, int]


@dataclass
class Kind:
    """Makes empty stores of one kind. Those in a database share its tables."""

    name: str
    database: AnyLoop | None = None

    def __call__(self, **bounds: int) -> Stores:
        """Return empty stores; `bounds` are `max_pre_sessions` and `max_flows`."""
        if self.database is None:
            return _slow(**bounds) if self.name == "slow" else _memory(**bounds)
        for table in TABLES:
            self.database.now(f"DELETE FROM {table}")
        return self.again(**bounds)

    def again(self, max_pre_sessions: int = 10_000, max_flows: int = 20_000) -> Stores:
        """Return stores on the same rows, as another worker has them."""
        assert self.database
        return replace(
            stores_on(self.database),
            sessions=SqlSessions(self.database, max_pre_sessions),
            flows=SqlFlows(self.database, max_flows),
        )

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        assert self.database
        return int(self.database.now(f"SELECT count(*) AS rows FROM {table}")[0]["rows"])


def _memory(max_pre_sessions: int = 10_000, max_flows: int = 20_000) -> Stores:
    return Stores(
        users=MemoryUserStore(),
        refresh_tokens=MemoryRefreshStore(),
        keys=MemoryKeyStore(),
        sessions=MemorySessionStore(max_pre_sessions),
        flows=MemoryFlowStore(max_flows),
        identities=MemoryIdentityStore(),
    )


def _slow(max_pre_sessions: int = 10_000, max_flows: int = 20_000) -> Stores:
    return replace(
        _memory(max_flows=max_flows),
        users=SlowUsers(),
        refresh_tokens=SlowRefreshTokens(),
        keys=SlowKeys(),
        sessions=SlowSessions(max_pre_sessions),
    )


@contextmanager
def kind_on(url: str, name: str) -> Iterator[Kind]:
    """Open a database that has all tables, for every thread and loop of the tests."""
    database = AnyLoop(url)
    yield Kind(name, database)
    database.close()


def at_once(*calls: Callable[[], Coroutine[Any, Any, Any]], patience: float = 30) -> list[Any]:
    """Await each call in a thread and a loop of its own, all from one moment on.

    Returns what they return, or the exceptions that they raise.
    """
    barrier, ended = threading.Barrier(len(calls)), [None] * len(calls)

    def one(index: int) -> None:
        async def run() -> Any:
            return await calls[index]()

        barrier.wait(patience)
        try:
            ended[index] = asyncio.run(run())
        except Exception as error:
            ended[index] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience)
        assert not thread.is_alive(), "It never ended."
    return ended
