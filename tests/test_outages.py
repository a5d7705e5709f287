"""Lesson 12 when something dies, stands still or is full, in the middle of a load."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from itertools import count

import httpx
import psycopg
import pytest

from tests.cluster import PASSWORD, WORKERS, Cluster, cluster, from_somewhere, one_client_each
from tests.ledger import GONE, Ledger, load

LOGINS = 32  # at once, of one worker: fewer than it lets wait for a hash
BACK = 15  # seconds after what was missing is there again, on a machine that has nothing else to do


@pytest.fixture(scope="module")
def shop() -> Iterator[Cluster]:
    """Four workers, for all tests of this file. No test restarts them."""
    with cluster() as running:
        yield running


@asynccontextmanager
async def outage(ledger: Ledger, *whats: str) -> AsyncIterator[None]:
    """Wait for refusals while something is away; afterwards for good answers of every kind."""
    refused = {what: ledger.count(503, what=what) for what in whats}
    yield
    await ledger.has(lambda: all(ledger.count(503, what=w) > n + 3 for w, n in refused.items()))


async def is_back(ledger: Ledger) -> None:
    """Wait until every kind of question is answered well again, on a machine as busy as before."""
    kinds = ("register", "login", "refresh", "revoke")
    good = {kind: ledger.count(200, 201, what=kind) for kind in kinds}
    await ledger.has(
        lambda: all(ledger.count(200, 201, what=k) > n for k, n in good.items()),
        BACK + ledger.warm_up,
    )


def test_a_worker_dies(shop: Cluster) -> None:
    async def check() -> None:
        async with load(shop) as ledger:
            for killed in count(1):  # until one dies with a request in its hands, which is soon
                workers = await one_client_each(shop, 1)
                for pid, client in workers.items():
                    os.kill(pid, signal.SIGKILL)
                    await client.aclose()
                await is_back(ledger)
                if (ledger.count(GONE) and killed > 1) or killed == 20:
                    break
        assert ledger.count(GONE) and not ledger.count(503)

    asyncio.run(check())
    asyncio.run(all_are_there(shop))


async def all_are_there(shop: Cluster) -> None:
    for client in (await one_client_each(shop, WORKERS)).values():
        await client.aclose()


def test_the_database_dies(shop: Cluster) -> None:
    async def check() -> None:
        async with load(shop) as ledger:
            async with outage(ledger, "register", "login"):
                shop.database.kill()
            async with shop.client() as client:
                browser = {"Cookie": "__Host-session=erins"}  # whose it is, the audit log asks
                assert (await client.get("/session", headers=browser)).status_code == 503
            await asyncio.to_thread(shop.database.start)
            await is_back(ledger)
        assert ledger.answered_in_time(), ledger.slowest
        assert not ledger.count(GONE)

    asyncio.run(check())


def test_the_counters_die(shop: Cluster) -> None:
    """Without them nobody logs in. Who is in goes on."""

    async def check() -> None:
        async with load(shop) as ledger:
            async with outage(ledger, "login"):
                shop.counters.process.kill()
                shop.counters.process.wait()
            await asyncio.to_thread(shop.restart_counters)
            await is_back(ledger)
            assert not ledger.count(503, what="refresh")
        assert ledger.answered_in_time(), ledger.slowest

    asyncio.run(check())


def test_the_database_stands_still(shop: Cluster) -> None:
    async def check() -> None:
        async with load(shop) as ledger:
            async with outage(ledger, "login"):
                shop.database.signal_all(signal.SIGSTOP)
            shop.database.signal_all(signal.SIGCONT)
            await is_back(ledger)
        assert ledger.answered_in_time(), ledger.slowest

    asyncio.run(check())


def test_the_counters_stand_still(shop: Cluster) -> None:
    async def check() -> None:
        async with load(shop) as ledger:
            async with outage(ledger, "login"):
                shop.counters.process.send_signal(signal.SIGSTOP)
            shop.counters.process.send_signal(signal.SIGCONT)
            await is_back(ledger)
        assert ledger.answered_in_time(), ledger.slowest

    asyncio.run(check())


def test_the_database_has_no_connection_left(shop: Cluster) -> None:
    """Somebody else has taken them all. As soon as they are free the app takes its own again."""

    async def check() -> None:
        async with load(shop) as ledger:
            with ExitStack() as taken:
                async with outage(ledger, "register", "login"):
                    await asyncio.to_thread(_take_all, shop, taken)
            await is_back(ledger)
        assert ledger.answered_in_time(), ledger.slowest

    asyncio.run(check())


def _take_all(shop: Cluster, taken: ExitStack) -> None:
    """Take each connection that is free, and those of the app from under its hands."""
    mine = taken.enter_context(psycopg.connect(shop.database.url(), autocommit=True))
    theirs = mine.execute("SELECT 1")
    while theirs.rowcount:
        with suppress(psycopg.OperationalError):
            while True:
                taken.enter_context(psycopg.connect(shop.database.url(), autocommit=True))
        theirs = mine.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [shop.database_url.rpartition("/")[2]],
        )


def test_somebody_locks_the_people(shop: Cluster) -> None:
    """A statement that waits for somebody else gives up, and its connection is of use again."""

    async def check() -> None:
        async with load(shop) as ledger:
            with psycopg.connect(shop.database_url) as other:
                async with outage(ledger, "register", "login"):
                    other.execute("LOCK TABLE users")
                assert not ledger.count(503, what="revoke")
            await is_back(ledger)
        assert ledger.answered_in_time(), ledger.slowest

    asyncio.run(check())


def test_no_connection_is_held_over_a_hash() -> None:
    """One worker with one connection: many log in at once, and light requests are answered."""
    with cluster(workers=1, DATABASE_CONNECTIONS="1", BCRYPT_ROUNDS="11") as shop:

        async def log_in(client: httpx.AsyncClient) -> httpx.Response:
            form = {"username": name, "password": PASSWORD}
            return await client.post("/token", data=form, headers=from_somewhere())

        async def check() -> None:
            async with shop.client() as client:
                tokens = (await log_in(client)).json()
                mine = {"Authorization": f"Bearer {tokens['access_token']}"}
                storm = asyncio.gather(*(log_in(client) for _ in range(LOGINS)))
                lights = []
                while not storm.done():
                    lights.append(await client.get("/users/me", headers=mine))
                assert len(lights) > 5
                assert {each.status_code for each in lights} == {200}
                assert {each.status_code for each in await storm} == {200}

        name = shop.person()
        asyncio.run(check())
