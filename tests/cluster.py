"""The whole of lesson 12 on this machine: PostgreSQL, Redis, and several workers of one app."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import httpx
import psycopg
from passlib.hash import bcrypt

from solutions.database import stores_on
from solutions.stores.sql.migrate import migrate
from solutions.stores.sql.opening import open_database
from solutions.stores.users import UserInDB
from tests.postgres import Postgres, postgres
from tests.processes import PATIENCE, free_port, serve
from tests.servers import Redis, redis

APP = "solutions.database:app"
WORKERS = 4
PASSWORD = "trombone + seven"
ROUNDS = 10  # the least that production takes
OPTIONS = ["--no-proxy-headers", "--no-server-header", "--no-access-log"]
PRODUCTION = {
    "ENVIRONMENT": "production",
    "JWT_ISSUER": "https://shop.example",
    "JWT_AUDIENCE": "shop",
    "PUBLIC_URL": "https://shop.example",
    "ALLOWED_HOSTS": "shop.example",
    "TRUSTED_PROXIES": "127.0.0.1",  # these tests speak as nginx would
    "BCRYPT_ROUNDS": str(ROUNDS),
    "ATTEMPTS_PER_ADDRESS": "20",
}


def from_somewhere() -> dict[str, str]:
    """Return the headers of a request that nginx has heard from a place of its own."""
    place = ".".join(str(secrets.randbelow(256)) for _ in range(3))
    return {"X-Forwarded-For": f"10.{place}", "X-Forwarded-Proto": "https", "Host": "shop.example"}


@dataclass
class Cluster:
    """What is running, and how to reach it."""

    url: str
    database: Postgres
    counters: Redis
    env: dict[str, str]
    stack: ExitStack

    @property
    def database_url(self) -> str:
        return self.env["DATABASE_URL"]

    def restart_counters(self) -> None:
        """Start another Redis in the place of one that is dead. It knows nothing."""
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.counters = self.stack.enter_context(redis(Path(folder), self.counters.port))

    def client(self, most: int | None = None, kept: int | None = 0) -> httpx.AsyncClient:
        """Return a client with one place of its own, as nginx has heard it.

        Of at most so many connections, of which so many stay open. By default each request has a
        new one, which any worker may take.
        """
        return httpx.AsyncClient(
            base_url=self.url,
            headers=from_somewhere(),
            timeout=PATIENCE,
            trust_env=False,
            limits=httpx.Limits(max_connections=most, max_keepalive_connections=kept),
        )

    def execute(self, statement: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement of somebody else's on the app's database, and return the rows."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def person(self, role: str = "user") -> str:
        """Store a new person and return the name; all have one password."""
        name = f"p{secrets.token_hex(5)}"
        asyncio.run(_store(self.database_url, name, role))
        return name


HASHED = bcrypt.using(rounds=ROUNDS).hash(PASSWORD)


async def _store(url: str, name: str, role: str) -> None:
    async with open_database(url, 1) as database:
        scopes = ["me", "items"]
        person = UserInDB(username=name, role=role, scopes=scopes, hashed_password=HASHED)
        assert await stores_on(database).users.add(person)


async def bring_up(url: str) -> None:
    """Make the tables."""
    async with open_database(url, 1) as database:
        await migrate(database)


@contextmanager
def cluster(workers: int = WORKERS, app: str = APP, **env: str) -> Iterator[Cluster]:
    """Run PostgreSQL as it is by default, Redis, and so many workers of an app."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(postgres(max_connections="60"))
        counters = stack.enter_context(redis(folder, free_port()))
        env = {
            **PRODUCTION,
            "JWT_SECRET": secrets.token_urlsafe(32),
            "DATABASE_URL": database.new_database(),
            "LIMITS_URL": counters.url,
            **env,
        }
        asyncio.run(bring_up(env["DATABASE_URL"]))
        options = [*OPTIONS, "--workers", str(workers)]
        client = stack.enter_context(serve(app, folder / "log", options=options, **env))
        wait_for(workers, folder / "log")
        yield Cluster(str(client.base_url), database, counters, env, stack)


def wait_for(workers: int, log: Path) -> None:
    """Wait until so many workers serve. The first line of their parent says nothing of them."""
    deadline = time.monotonic() + PATIENCE
    while log.read_text().count("Application startup complete") < workers:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def worker_at(here: int, there: int) -> int:
    """Return the process that has the other end of a connection between two ports."""
    (inode,) = (
        words[9]
        for words in map(str.split, Path("/proc/net/tcp").read_text().splitlines())
        if words[1].endswith(f":{there:04X}") and words[2].endswith(f":{here:04X}")
    )
    for end in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # gone since
            if str(end.readlink()) == f"socket:[{inode}]":
                return int(end.parts[2])
    raise AssertionError("Nobody has this connection.")


async def one_client_each(cluster: Cluster, workers: int = WORKERS) -> dict[int, httpx.AsyncClient]:
    """Return a client for each worker: its one connection stays with that one."""
    found: dict[int, httpx.AsyncClient] = {}
    there = urlsplit(cluster.url).port or 80
    async with asyncio.timeout(PATIENCE):
        while len(found) < workers:
            client = cluster.client(most=1, kept=1)
            answer = await client.get("/users/me")
            stream = answer.extensions["network_stream"]
            pid = worker_at(stream.get_extra_info("client_addr")[1], there)
            if pid not in found:
                found[pid] = client
            else:
                await client.aclose()
    return found
