"""Two workers on one SQLite file for demo 12, a race that needs no luck, and what it measures."""

import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt

from lessons.harness.people import PASSWORDS
from lessons.harness.race import Crowd
from lessons.harness.workers import Tap, fill
from solutions.database import RefreshTokens, Users
from solutions.stores.refresh_tokens import Family, MemoryRefreshStore, RefreshToken
from solutions.stores.sql.database import StoreDown
from solutions.stores.sql.sqlite import SqliteDatabase
from solutions.stores.users import MemoryUserStore, User, demo_people
from stage import BAD, CALM, GOOD, Server, configure, finish, plt, show_figure

_folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
FILE = Path(_folder.name, "workbook.db")
LOGINS, CONNECTIONS = 12, 4
ROUNDS = 9  # of the hashes in the picture: some 30 ms each


class Two:
    """Two servers, each a process, and a file."""

    def __init__(self) -> None:
        fill(FILE, [])
        configure(DATABASE_URL=f"sqlite:///{FILE}")
        self.first, self.second = (Server("solutions.database:app") for _ in range(2))

    def log_in(self, name: str) -> str:
        """Log in at the first one, and return the refresh token."""
        form = {"username": name, "password": PASSWORDS[name]}
        return str(self.first.visitor.http.post("/token", data=form).json()["refresh_token"])

    def refresh(self, *tokens: str) -> list[int]:
        """Send tokens at once, the second one to the second server; return the statuses."""
        forms = [{"grant_type": "refresh_token", "refresh_token": token} for token in tokens]

        async def send() -> list[int]:
            servers = (self.first, self.second)
            calls = [
                asyncio.to_thread(server.visitor.http.post, "/token", data=form)
                for server, form in zip(servers, forms, strict=False)
            ]
            return [answer.status_code for answer in await asyncio.gather(*calls)]

        return finish(send())


def race(store: Callable[[Any], Any]) -> list[str]:
    """Let two workers consume one token, each after both have looked; return who got it."""
    token = _token()
    file = _new_file()
    taps = [Tap(SqliteDatabase(file, 1)) for _ in range(2)]
    finish(RefreshTokens(taps[0]).add(token))
    crowd = Crowd(2)

    async def consume(tap: Tap) -> RefreshToken | None:
        tap.crowd = crowd
        try:
            got: RefreshToken | None = await store(tap).consume(token.digest)
            return got
        finally:
            await tap.close()

    ended = crowd.run([lambda tap=tap: asyncio.run(consume(tap)) for tap in taps])
    names = ("the first worker", "the second worker")
    return [name for name, got in zip(names, ended, strict=True) if got]


def _new_file() -> Path:
    file = FILE.with_name(uuid.uuid4().hex)
    fill(file, demo_people())
    return file


def _token() -> RefreshToken:
    month = datetime.now(UTC) + timedelta(days=30)
    family = Family(uuid.uuid4().hex, "alice", "stamp", ("me",), month)
    return RefreshToken(uuid.uuid4().hex, family)


# --- pictures -------------------------------------------------------------------------------


def draw_waits() -> None:
    """Measure what a light request waits while twelve people log in, in two ways."""
    figure, axes = plt.subplots(figsize=(10, 4))
    for holds, label, colour in (
        (True, "the connection is held while a hash is made", BAD),
        (False, "looked up, given back, then hashed", GOOD),
    ):
        begun, took = zip(*finish(_light_requests(holds)), strict=True)
        axes.plot(begun, took, "o", color=colour, label=f"{label}: at worst {max(took):.0f} ms")
    axes.set_xlabel("seconds since twelve logins began")
    axes.set_ylabel("a light request, in ms")
    axes.set_yscale("log")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=13)
    show_figure(figure)


async def _light_requests(holds: bool) -> list[tuple[float, float]]:
    database = SqliteDatabase(_new_file(), CONNECTIONS)
    users = Users(database)
    await users.get("alice")

    async def log_in() -> None:
        if holds:
            async with database.transaction():
                await users.get("alice")
                await asyncio.to_thread(_hash)
        else:
            await users.get("alice")
            await asyncio.to_thread(_hash)

    async def ask() -> tuple[float, float]:
        at = time.perf_counter()
        with suppress(StoreDown):  # the wait has an end, and it counts
            await users.get("johndoe")
        return at - began, (time.perf_counter() - at) * 1000

    began = time.perf_counter()
    logins = [asyncio.create_task(log_in()) for _ in range(LOGINS)]
    asked = []
    while not all(task.done() for task in logins):
        await asyncio.sleep(0.02)
        asked.append(asyncio.create_task(ask()))
    await asyncio.gather(*logins, return_exceptions=True)
    times = await asyncio.gather(*asked)
    await database.close()
    return times


def _hash() -> None:
    bcrypt.hashpw(b"trombone + seven", bcrypt.gensalt(ROUNDS))


def draw_costs() -> None:
    """Measure what a look and a step take, in memory and in the file."""
    costs = finish(_costs())
    figure, axes = plt.subplots(figsize=(10, 3.4))
    for shift, (where, pair), colour in zip((0.2, -0.2), costs.items(), (CALM, GOOD), strict=True):
        bars = axes.barh([shift, 1 + shift], pair, 0.38, color=colour, label=where)
        axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_yticks([0, 1], ["spend a token", "look up a person"])
    axes.set_xlabel("microseconds")
    axes.set_xscale("log")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    show_figure(figure)


async def _costs() -> dict[str, list[float]]:
    database = SqliteDatabase(_new_file())
    pairs = {
        "in memory": (MemoryUserStore(demo_people()), MemoryRefreshStore()),
        "in SQLite": (Users(database), RefreshTokens(database)),
    }
    costs = {}
    for where, (users, tokens) in pairs.items():
        kept = [_token() for _ in range(60)]
        for token in kept:
            await tokens.add(token)
        spend = iter(kept)
        looks = await _microseconds(lambda users=users: users.get("alice"))
        steps = await _microseconds(
            lambda tokens=tokens, spend=spend: tokens.consume(next(spend).digest)
        )
        costs[where] = [steps, looks]
    await database.close()
    return costs


async def _microseconds(work: Callable[[], Awaitable[User | RefreshToken | None]]) -> float:
    times = []
    for _ in range(60):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6
