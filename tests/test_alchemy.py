"""The stores on SQLAlchemy: the same tables as plain SQL's, the same promises, and as silent."""

import asyncio
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from lessons.harness.catalogue import ROOT
from solutions import database as plain
from solutions.stores.alchemy.app import stores_on
from solutions.stores.alchemy.engine import AlchemyDatabase, open_alchemy
from solutions.stores.alchemy.migrating import alone, config_on
from solutions.stores.alchemy.models import PersonRow
from solutions.stores.api_keys import ApiKey
from solutions.stores.chosen import Stores
from solutions.stores.flows import Flow, Purpose
from solutions.stores.identities import Identity
from solutions.stores.refresh_tokens import Family, RefreshToken
from solutions.stores.sessions import Session
from solutions.stores.sql.database import (
    A_DAY,
    PATIENCE,
    Conflict,
    Database,
    StoreDown,
    Unstorable,
    WrongStatement,
)
from solutions.stores.sql.migrate import migrate, version_of, versions
from solutions.stores.sql.opening import open_database
from solutions.stores.users import UserInDB
from tests.judge import ENVIRONMENT
from tests.processes import serve

NEWEST = max(versions())
SOON = datetime.now(UTC).replace(microsecond=123456) + timedelta(days=1)
LATEST = 15.0  # seconds: what an answer may take while a database is down, beside a busy program
TABLES = ("users", "refresh_tokens", "revoked_families", "api_keys", "sessions", "flows")

erin = UserInDB(username="erin", hashed_password="hash-of-erin", role="superadmin")
family = Family("family", "erin", "stamp", ("me", "items"), SOON)
token = RefreshToken("digest-of-a-token", family)
key = ApiKey("digest-of-a-key", "id", "prefix", "name", "erin", "stamp", ("me",), SOON, SOON)
session = Session(
    digest="digest-of-a-session",
    id="id",
    csrf_token="csrf",
    username="erin",
    stamp="stamp",
    user_agent="Firefox",
    created_at=SOON,
    last_seen=SOON,
    expires_at=SOON,
)
flow = Flow("session", "state", "google", "nonce", "verifier", Purpose("/account", ""), SOON)
identity = Identity("issuer", "subject", "erin", "account", "label", SOON)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server = request.getfixturevalue("empty_postgres")
    return str(server())


@pytest.fixture(scope="session")
def empty_postgres() -> Iterator[Callable[[], str]]:
    """Make empty databases on a server of these tests' own; skips where there is none."""
    from tests.postgres import QUICK, postgres

    with postgres(**QUICK) as server:
        yield server.new_database


async def alembic(database: AlchemyDatabase, command: str, *args: str) -> None:
    """Run one of Alembic's commands. It raises where the command line would end with a 1."""
    from alembic import command as commands

    async with alone(database) as connection:
        await connection.run_sync(lambda it: getattr(commands, command)(config_on(it), *args))


async def tables(database: Database) -> set[tuple[Any, ...]]:
    """Return what a database says of its tables, whoever has made them."""
    if database.dialect == "postgresql":
        rows = await database.run(
            "SELECT table_name, column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public'"
        )
        rows += await database.run(
            "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        )
        rows += await database.run(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        )
        rows += await database.run(
            "SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check"
            " FROM pg_policies"
        )
        rows += await database.run(
            "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        found = {tuple(row.values()) for row in rows}
    else:
        found = set()
        for row in await database.run("SELECT name FROM sqlite_master WHERE type = 'table'"):
            name = row["name"]
            for each in await database.run(f"PRAGMA table_info({name})"):
                column = {**each, "type": each["type"].lower(), "cid": 0}
                found.add((name, *column.values()))
            for each in await database.run(f"PRAGMA foreign_key_list({name})"):
                found.add((name, *each.values()))
            for each in await database.run(f"PRAGMA index_list({name})"):
                columns = await database.run(f"PRAGMA index_info({each['name']})")
                names = tuple(column["name"] for column in columns)
                named = each["name"] if each["origin"] == "c" else ""
                found.add((name, named, each["unique"], each["origin"], names))
        checks = await database.run("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        found |= {(each["name"], each["sql"].count("CHECK")) for each in checks}
    return {each for each in found if "alembic_version" not in each[0]}


def test_both_make_the_same_tables(empty_url: str) -> None:
    async def compare() -> None:
        async with open_alchemy(empty_url, 1) as database:
            for version in versions():
                await alembic(database, "upgrade", f"{version:04}")
                by_alembic = await tables(database)
                await migrate(database, version - 1)
                await migrate(database, version)
                assert await tables(database) == by_alembic
            assert len(by_alembic) > 50
            await alembic(database, "downgrade", "base")
            left = {each[0] for each in await tables(database)}
            assert left == {"migrations"}
            await migrate(database)
            assert await tables(database) == by_alembic

    asyncio.run(compare())


@pytest.mark.parametrize("maker", ["alembic", "sql"])
def test_the_models_are_what_the_migrations_make(empty_url: str, maker: str) -> None:
    async def check() -> None:
        async with open_alchemy(empty_url, 1) as database:
            if maker == "sql":
                await migrate(database)
            else:
                await alembic(database, "upgrade", "head")
            await alembic(database, "check")

    asyncio.run(check())


def test_either_goes_on_from_where_the_other_stopped(empty_url: str) -> None:
    async def go() -> None:
        async with open_alchemy(empty_url, 1) as database:
            await migrate(database, 1)
            await alembic(database, "upgrade", "head")
            assert await version_of(database) == NEWEST
            assert await migrate(database) == []
            await migrate(database, 1)
            await alembic(database, "upgrade", "head")
            await alembic(database, "downgrade", "0001")
            assert await version_of(database) == 1
            assert await migrate(database) == [versions()[n].name for n in range(2, NEWEST + 1)]
            await alembic(database, "downgrade", "base")
            assert await version_of(database) == 0
            assert len(await migrate(database)) == NEWEST

    asyncio.run(go())


def test_both_tools_migrate_at_once(empty_url: str) -> None:
    """Nobody has made the first table of all yet."""

    async def go() -> None:
        async with AsyncExitStack() as stack:
            three = [await stack.enter_async_context(open_alchemy(empty_url, 1)) for _ in range(3)]
            plain = await stack.enter_async_context(open_database(empty_url, 1))
            by_alembic = (alembic(each, "upgrade", "head") for each in three)
            await asyncio.gather(*by_alembic, migrate(plain))
            assert await version_of(plain) == NEWEST

    asyncio.run(go())


def test_a_migration_may_take_long(new_postgres: Callable[[], str]) -> None:
    """What Alembic's command opens has more patience than the app."""

    async def go() -> None:
        async with open_alchemy(new_postgres(), 1, A_DAY) as database, alone(database):
            await database.run(f"SELECT pg_sleep({PATIENCE + 1})")
            await asyncio.sleep(PATIENCE + 0.5)
            await database.run("SELECT 1")

    asyncio.run(go())

    asyncio.run(go())


def test_up_and_down_on_data(empty_url: str) -> None:
    async def go() -> None:
        async with open_alchemy(empty_url, 2) as database, open_database(empty_url, 2) as other:
            await alembic(database, "upgrade", "head")
            ours, theirs = stores_on(database), plain.stores_on(other)
            await fill(ours)
            await alembic(database, "downgrade", "0001")
            rows = await other.run("SELECT username, hashed_password FROM users")
            assert [tuple(row.values()) for row in rows] == [("erin", "hash-of-erin")]
            assert await theirs.keys.find(key.digest) == key
            await alembic(database, "upgrade", "head")
            person = await ours.users.get("erin")
            assert person
            assert person.account_id == "of-erin"
            assert await theirs.users.get("erin") == person
            assert await ours.refresh_tokens.consume(token.digest) == token
            assert await ours.sessions.owned_by("erin") == []

    asyncio.run(go())


async def fill(stores: Stores) -> None:
    """Put one thing into each store."""
    assert await stores.users.add(erin)
    await stores.refresh_tokens.add(token)
    await stores.keys.add(key)
    await stores.sessions.add(session)
    await stores.flows.add(flow)
    assert await stores.identities.claim(identity) == identity


def test_each_reads_what_the_other_has_written(database_url: str) -> None:
    async def compare(mine: Stores, its: Stores) -> None:
        assert await its.users.get("ERIN") == await mine.users.get("erin") == erin
        assert await its.users.everyone() == await mine.users.everyone()
        assert await its.refresh_tokens.find(token.digest) == token
        assert await its.keys.owned_by("erin") == [key]
        assert await its.sessions.find(session.digest) == session
        assert await its.identities.owned_by("account") == [identity]
        assert await its.flows.take("session", "state") == flow
        assert await its.refresh_tokens.consume(token.digest) == token
        assert await mine.refresh_tokens.consume(token.digest) is None
        await its.refresh_tokens.revoke(family)
        assert await mine.refresh_tokens.find(token.digest) == replace(token, spent=True)
        assert await mine.users.remove("erin")
        assert await its.keys.revoke("erin", "id")
        await its.sessions.end(session.digest)
        assert await its.identities.release("account", "issuer", may_be_last=True) == "gone"

    async def go() -> None:
        async with open_alchemy(database_url) as one, open_database(database_url) as two:
            for mine, its in (
                (stores_on(one), plain.stores_on(two)),
                (plain.stores_on(two), stores_on(one)),
            ):
                await two.run("DELETE FROM refresh_tokens")
                await two.run("DELETE FROM revoked_families")
                await fill(mine)
                await compare(mine, its)

    asyncio.run(go())


def test_what_a_session_remembers_is_not_asked(database_url: str) -> None:
    """In a transaction a second look sees what a statement has changed since the first."""

    async def go() -> None:
        async with open_alchemy(database_url) as database:
            users = stores_on(database).users
            await users.add(erin)
            async with users.transaction():
                assert (await users.get("erin")) == erin
                await users.change("erin", disabled=True)
                await database.run("UPDATE users SET full_name = 'Erin'")
                person = await users.get("erin")
                assert person
                assert (person.disabled, person.full_name) == (True, "Erin")

    asyncio.run(go())


def test_rows_are_of_use_after_their_session(database_url: str) -> None:
    async def go() -> None:
        async with open_alchemy(database_url) as database:
            await stores_on(database).users.add(erin)
            async with database.transaction():
                row = await database.first(select(PersonRow))
            assert row
            assert (row.username, row.scopes, row.email) == ("erin", ("me", "items"), None)

    asyncio.run(go())


def test_an_exception_undoes_and_a_cancellation_too(database_url: str) -> None:
    async def go() -> None:
        async with open_alchemy(database_url, 1) as database:
            users = stores_on(database).users
            await users.add(erin)

            async def change(after: Coroutine[Any, Any, Any]) -> None:
                async with users.transaction():
                    await users.change("erin", full_name="Somebody")
                    await after

            async def fail() -> None:
                raise LookupError

            with pytest.raises(LookupError):
                await change(fail())
            task = asyncio.create_task(change(asyncio.sleep(60)))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await users.get("erin") == erin
            await users.change("erin", full_name="Erin")
            assert [person.full_name for person in await users.everyone()] == ["Erin"]

    asyncio.run(go())


def test_one_of_many_wins(database_url: str) -> None:
    async def go() -> None:
        async with open_alchemy(database_url, 4) as one, open_alchemy(database_url, 4) as two:
            sides = [stores_on(one), stores_on(two)] * 8
            added = await asyncio.gather(*(side.users.add(erin) for side in sides))
            assert sorted(added)[-2:] == [False, True]
            await sides[0].refresh_tokens.add(token)
            consumed = await asyncio.gather(
                *(side.refresh_tokens.consume(token.digest) for side in sides)
            )
            assert [each for each in consumed if each] == [token]
            replaced = await asyncio.gather(
                *(
                    side.users.replace_hash("erin", "hash-of-erin", f"hash-{number}")
                    for number, side in enumerate(sides)
                )
            )
            assert sum(replaced) == 1
            claimed = await asyncio.gather(
                *(
                    side.identities.claim(replace(identity, username=f"u{number}"))
                    for number, side in enumerate(sides)
                )
            )
            assert len(set(claimed)) == 1

    asyncio.run(go())


def test_the_last_superadmin_stays(database_url: str) -> None:
    async def go() -> None:
        async with open_alchemy(database_url, 2) as one, open_alchemy(database_url, 2) as two:
            stores = [stores_on(one), stores_on(two)]

            async def take_away(side: Stores, name: str) -> None:
                async with side.users.transaction():
                    people = await side.users.everyone()
                    if len([each for each in people if each.role == "superadmin"]) > 1:
                        await asyncio.sleep(0.01)
                        await side.users.change(name, role="user")

            for _ in range(5):
                for name in ("erin", "carol"):
                    await stores[0].users.remove(name)
                    await stores[0].users.add(erin.model_copy(update={"username": name}))
                await asyncio.gather(take_away(stores[0], "erin"), take_away(stores[1], "carol"))
                roles = [person.role for person in await stores[0].users.everyone()]
                assert sorted(roles) == ["superadmin", "user"]

    asyncio.run(go())


@pytest.mark.parametrize("hostile", ["a\0b", "a\ud800b"], ids=["NUL", "half a character"])
def test_what_cannot_be_kept_is_said(database_url: str, hostile: str) -> None:
    async def go() -> None:
        async with open_alchemy(database_url, 1) as database:
            stores = stores_on(database)
            await stores.users.add(erin)
            attempts: list[Coroutine[Any, Any, Any]] = [
                stores.users.add(erin.model_copy(update={"username": "mallory", "email": hostile})),
                stores.users.change("erin", full_name=hostile),
                stores.users.replace_hash("erin", hostile, "new"),
                stores.refresh_tokens.find(hostile),
                stores.refresh_tokens.consume(hostile),
                stores.keys.add(replace(key, name=hostile)),
                stores.keys.revoke("erin", hostile),
                stores.sessions.add(replace(session, user_agent=hostile)),
                stores.sessions.touch(hostile),
                stores.flows.take(hostile, "state"),
                stores.identities.claim(replace(identity, label=hostile)),
            ]
            for attempt in attempts:
                with pytest.raises(Unstorable):
                    await attempt
            with pytest.raises(Unstorable):
                await database.run("SELECT :n AS n", n=2**63)
            assert await stores.users.everyone() == [erin]

    asyncio.run(go())


def test_no_log_and_no_error_says_a_value(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where somebody lets SQLAlchemy say each statement."""
    secret = "Str0ng-and-secret"

    async def go() -> None:
        async with open_alchemy(database_url, 2) as database:
            for name in (None, *logging.root.manager.loggerDict):
                caplog.set_level(logging.DEBUG, name)
            stores = stores_on(database)
            await stores.users.add(erin.model_copy(update={"hashed_password": secret}))
            await stores.users.replace_hash("erin", secret, f"{secret}!")
            await stores.keys.add(replace(key, digest=secret))
            with pytest.raises(Conflict) as twice:
                await stores.keys.add(replace(key, digest=secret))
            assert secret not in repr(twice.value) + repr(twice.value.__cause__)
            assert twice.value.__suppress_context__
            with pytest.raises(WrongStatement) as wrong:
                await database.run("SELECT nothing FROM users WHERE username = :name", name=secret)
            assert secret not in repr(wrong.value)
            row = await database.first(select(PersonRow))
            assert secret not in repr(row)
            shown = repr(database.engine) + repr(database.engine.url) + repr(database)
            assert database_url.partition("//")[2] not in shown or "sqlite" in database_url
            await database.do(update(PersonRow).values(full_name=secret))

    asyncio.run(go())
    assert "UPDATE users" in caplog.text
    assert secret not in caplog.text
    assert "its%20own" not in caplog.text


def test_a_busy_pool_is_a_store_that_is_down(database_url: str) -> None:
    async def go() -> None:
        async with open_alchemy(database_url, 1) as database:
            users = stores_on(database).users

            async def hold() -> None:
                async with users.transaction():
                    await asyncio.sleep(2 * LATEST)

            holder = asyncio.create_task(hold())
            await asyncio.sleep(0.1)
            began = time.monotonic()
            with pytest.raises(StoreDown):
                await users.get("erin")
            assert time.monotonic() - began < LATEST
            holder.cancel()
            await asyncio.wait([holder])
            assert await users.get("erin") is None

    asyncio.run(go())


def test_a_locked_table_is_a_store_that_is_down(database_url: str) -> None:
    async def go() -> None:
        async with open_alchemy(database_url, 2) as one, open_alchemy(database_url, 2) as two:
            theirs, ours = stores_on(one).users, stores_on(two).users
            async with theirs.transaction():
                began = time.monotonic()
                adding = asyncio.create_task(ours.add(erin))
                while not adding.done():  # who says nothing for too long loses the lock
                    assert await theirs.get("erin") is None
                    await asyncio.sleep(0.2)
                assert isinstance(adding.exception(), StoreDown)
                assert time.monotonic() - began < LATEST
            assert await ours.add(erin)

    asyncio.run(go())


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    async def go(url: str) -> None:
        async with open_alchemy(url) as database:
            with pytest.raises(StoreDown):
                await stores_on(database).users.get("erin")
            await asyncio.sleep(0.1)  # the driver's thread has something to say after its error

    (tmp_path / "text").write_text("This is no database, and never has been one. " * 99)
    for name in ("text", "no folder/new.db"):
        asyncio.run(go(f"sqlite:///{tmp_path / name}"))


def test_sqlite_is_opened_as_plain_sql_does(sqlite_url: str) -> None:
    async def go() -> None:
        async with open_alchemy(sqlite_url) as database:
            for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
                (row,) = await database.run(f"PRAGMA {pragma}")
                assert row[pragma] == value
            (row,) = await database.run("PRAGMA busy_timeout")
            assert list(row.values()) == [1500]

    asyncio.run(go())
    assert sqlite3.connect(sqlite_url.removeprefix("sqlite:///")).execute("SELECT 1").fetchone()


async def down(users: Any) -> float:
    """Ask for somebody many times at once; each has to be told, and the last one soon."""
    began = time.monotonic()
    answers = await asyncio.gather(*(users.get("erin") for _ in range(8)), return_exceptions=True)
    assert {type(each) for each in answers} == {StoreDown}
    return time.monotonic() - began


async def again(users: Any) -> None:
    """Wait until the store answers again; it has to, by itself."""
    began = time.monotonic()
    while True:
        try:
            assert await users.get("erin") == erin
        except StoreDown:
            assert time.monotonic() - began < 60
            await asyncio.sleep(0.1)
        else:
            return


def test_a_server_that_is_gone_hangs_or_comes_back() -> None:
    from signal import SIGCONT, SIGSTOP

    from tests.postgres import migrated_postgres

    with migrated_postgres() as (server, template):
        url = server.new_database(template)

        async def go() -> None:
            async with open_alchemy(url, 3) as database:
                users = stores_on(database).users
                await users.add(erin)
                server.signal_all(SIGSTOP)
                took = [await down(users), await down(users)]
                server.signal_all(SIGCONT)
                await again(users)
                server.kill()
                took += [await down(users), await down(users)]
                server.start()
                await again(users)
                server.stop()
                server.start()
                await again(users)
            server.stop()
            async with open_alchemy(url, 3) as database:
                took.append(await down(stores_on(database).users))
                server.start()
                await again(stores_on(database).users)
            print(took)
            assert max(took) < LATEST

        asyncio.run(go())


def test_the_app_works_on_it(database_url: str, tmp_path: Path) -> None:
    settings: Any = {"DATABASE_URL": database_url, "JWT_SECRET": "x" * 31 + "y"}
    app = "solutions.stores.alchemy.app:app"
    with serve(app, tmp_path / "log", ENVIRONMENT="development", **settings) as client:
        login = client.post("/token", data={"username": "johndoe", "password": "secret"})
        bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}
        assert client.get("/users/me", headers=bearer).json()["username"] == "johndoe"
        again = {"grant_type": "refresh_token", "refresh_token": login.json()["refresh_token"]}
        answers = [client.post("/token", data=again).status_code for _ in range(2)]
        assert answers == [200, 400]
        hostile = client.post("/token", data={"username": "john\0doe", "password": "secret"})
        assert hostile.status_code in {400, 422}


def test_who_does_not_use_it_does_not_load_it() -> None:
    code = "import sys, solutions.main, solutions.database; print({*sys.modules} & {*sys.argv})"
    command = [sys.executable, "-c", code, "sqlalchemy", "alembic", "aiosqlite"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
