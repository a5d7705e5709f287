"""What a step of the stores costs, without a web server: `python -m tests.store_costs`.

Three steps, get a person, consume a refresh token and add one, in memory, and on SQLite and on
PostgreSQL both in plain SQL and by SQLAlchemy. One at a time, in turns, so that a busy minute of
the machine falls on all. It prints medians in microseconds: what a caller waits, and in brackets
what this process computes, with its threads.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from solutions import database as plain
from solutions.stores.alchemy import app as alchemy
from solutions.stores.alchemy.engine import open_alchemy
from solutions.stores.refresh_tokens import Family, MemoryRefreshStore, RefreshStore, RefreshToken
from solutions.stores.sql.migrate import migrate
from solutions.stores.sql.opening import open_database
from solutions.stores.users import MemoryUserStore, UserInDB, UserStore

ROUNDS = 40
STEPS = 50  # of each kind in a round

Pair = tuple[UserStore, RefreshStore]
Costs = dict[str, list[tuple[float, float]]]

erin = UserInDB(username="erin", hashed_password="hash")
family = Family("family", "erin", "stamp", ("me", "items"), datetime.now(UTC) + timedelta(days=7))


async def opened(stack: AsyncExitStack, urls: dict[str, str]) -> dict[str, Pair]:
    """Open each kind of stores."""
    pairs: dict[str, Pair] = {"memory": (MemoryUserStore(), MemoryRefreshStore())}
    for name, url in urls.items():
        by_driver = await stack.enter_async_context(open_database(url))
        await migrate(by_driver)
        by_alchemy = await stack.enter_async_context(open_alchemy(url))
        driver = "sqlite3" if name == "SQLite" else "psycopg"
        for how, stores in (
            (driver, plain.stores_on(by_driver)),
            ("SQLAlchemy", alchemy.stores_on(by_alchemy)),
        ):
            pairs[f"{name} by {how}"] = stores.users, stores.refresh_tokens
    return pairs


async def a_round(pair: Pair, prefix: str, costs: Costs) -> None:
    """Take each step some times."""
    users, tokens = pair
    digests = [f"{prefix} {number}" for number in range(STEPS)]

    async def measured(step: str, calls: list[Callable[[], Awaitable[object]]]) -> None:
        began, computed = time.perf_counter(), time.process_time()
        for call in calls:
            assert await call() is not False
        took, used = time.perf_counter() - began, time.process_time() - computed
        costs.setdefault(step, []).append((took / STEPS * 1e6, used / STEPS * 1e6))

    new = [RefreshToken(digest, family) for digest in digests]
    await measured("get", [partial(users.get, "erin")] * STEPS)
    await measured("add", [partial(tokens.add, each) for each in new])
    await measured("consume", [partial(tokens.consume, each) for each in digests])


async def measure(urls: dict[str, str]) -> dict[str, Costs]:
    """Return what each step took in each round, by kind of stores."""
    async with AsyncExitStack() as stack:
        pairs = await opened(stack, urls)
        costs: dict[str, Costs] = {kind: {} for kind in pairs}
        for kind, pair in pairs.items():
            await pair[0].add(erin)
            await a_round(pair, f"warm {kind}", {})
        for number in range(ROUNDS):
            for kind, pair in pairs.items():
                await a_round(pair, f"{kind} {number}", costs[kind])
        return costs


def table(costs: dict[str, Costs]) -> str:
    """Return the medians as lines."""
    lines = [f"{'microseconds':24}" + "".join(f"{step:>16}" for step in ("get", "consume", "add"))]
    for kind, steps in costs.items():
        cells = []
        for step in ("get", "consume", "add"):
            took, used = (statistics.median(each) for each in zip(*steps[step], strict=True))
            cells.append(f"{took:.0f} ({used:.0f})")
        lines.append(f"{kind:24}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    """Measure on a file, and on a PostgreSQL of its own if there is one."""
    from tests.postgres import postgres

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'costs.db'}"}
        try:
            urls["PostgreSQL"] = stack.enter_context(postgres()).new_database()
        except pytest.skip.Exception as skipped:
            print(skipped, file=sys.stderr)
        print(table(asyncio.run(measure(urls))))


if __name__ == "__main__":
    main()
