"""The tables: up and down on data in both databases, and old code beside new tables."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lessons.harness.any_loop import AnyLoop
from lessons.harness.catalogue import ROOT
from solutions.stores.api_keys import ApiKey
from solutions.stores.flows import Flow, Purpose
from solutions.stores.identities import Identity
from solutions.stores.refresh_tokens import Family, RefreshToken
from solutions.stores.sessions import Session
from solutions.stores.sql.database import A_DAY, PATIENCE, WrongStatement
from solutions.stores.sql.locks import alone_migrating
from solutions.stores.sql.migrate import FOLDER, migrate, version_of, versions
from solutions.stores.sql.opening import open_database
from solutions.stores.tenants import COLUMNS
from solutions.stores.users import UserInDB
from solutions.tenants import stores_on
from tests import processes
from tests.contract import at_once
from tests.judge import ENVIRONMENT

NEWEST = max(versions())
END = datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
FAMILY = Family("phone", "erin", "stamp", ("me",), END)
TABLES = {
    0: set[str](),
    1: {"users", "refresh_tokens", "revoked_families", "api_keys"},
}
TABLES[2] = TABLES[1] | {"sessions", "flows", "identities"}
TABLES[3] = TABLES[2] | {"tenants", "memberships", "items", "invitations", "tenant_keys"}
SHOP = "a" * 32


@pytest.fixture
def empty(database_url: str) -> Any:
    """A database without tables, of each kind."""
    database = AnyLoop(database_url)
    database.wait(migrate(database, 0))
    yield database
    database.close()


def tables(database: AnyLoop) -> set[str]:
    statement = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'",
    }
    return {row["name"] for row in database.now(statement[database.dialect])} - {"migrations"}


def rows(database: AnyLoop) -> dict[str, list[Any]]:
    return {
        table: [dict(row) for row in database.now(f"SELECT * FROM {table}")]
        for table in sorted(tables(database))
    }


async def fill(database: Any) -> None:
    """Let the newest code write something into each table."""
    stores = stores_on(database)
    await stores.users.add(UserInDB(username="erin", full_name="Zo\u00eb", hashed_password="hash"))
    await stores.refresh_tokens.add(RefreshToken("d", FAMILY))
    await stores.refresh_tokens.revoke(Family("laptop", "erin", "stamp", (), END))
    await stores.keys.add(ApiKey("d", "i", "p", "n", "erin", "s", ("me",), END, END))
    await stores.sessions.add(Session("d", "i", "t", "erin", "s", "Firefox", END, END, END))
    await stores.flows.add(Flow("s", "state", "oidc", "n", "v", Purpose(), END))
    await stores.identities.claim(Identity("https://one.example", "1", "erin", "a", "", END))
    assert stores.tenants
    tenant = stores.tenants.rows(SHOP)
    for table, columns in COLUMNS.items():
        numbers = dict.fromkeys({*columns} & {"done", "created_at", "expires_at"}, 1)
        fields: dict[str, Any] = {**dict.fromkeys(columns, "x"), **numbers, "tenant": SHOP}
        assert await tenant.add(table, fields)


def test_each_step_goes_up_and_down_on_data(empty: AnyLoop) -> None:
    """What stays in a step keeps every row as it was."""
    assert tables(empty) == TABLES[0]
    empty.wait(migrate(empty))
    assert tables(empty) == TABLES[NEWEST]
    empty.wait(fill(empty))
    before = rows(empty)
    for version in range(NEWEST - 1, 0, -1):
        done = empty.wait(migrate(empty, version))
        assert len(done) == 1 and done[0].endswith(".down.sql")
        assert tables(empty) == TABLES[version]
        assert empty.wait(version_of(empty)) == version
        for table, kept in rows(empty).items():
            there = kept[0].keys() if kept else ()
            assert kept == [{name: row[name] for name in there} for row in before[table]]
    down = rows(empty)
    empty.wait(migrate(empty))
    for table, kept in rows(empty).items():
        assert [
            {name: row[name] for name in old}
            for row, old in zip(kept, down.get(table, []), strict=False)
        ] == down.get(table, []), table
    erin = empty.wait(stores_on(empty).users.get("erin"))
    assert erin.full_name == "Zo\u00eb" and erin.has_password
    assert erin.account_id == "of-erin", "An empty one would be one account of many people."
    assert empty.wait(stores_on(empty).refresh_tokens.consume("d")).family == FAMILY
    empty.wait(migrate(empty, 0))
    assert tables(empty) == TABLES[0]


def test_a_migration_that_is_done_is_not_done_again(empty: AnyLoop) -> None:
    assert len(empty.wait(migrate(empty))) == NEWEST
    assert empty.wait(migrate(empty)) == []
    assert empty.wait(migrate(empty, NEWEST)) == []


@pytest.mark.parametrize("target", [-1, NEWEST + 1, 99])
def test_there_is_no_such_version(empty: AnyLoop, target: int) -> None:
    with pytest.raises(ValueError, match="There is no version"):
        empty.wait(migrate(empty, target))
    assert tables(empty) == TABLES[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, for somebody who adds one."""
    copy = tmp_path / "migrations"
    shutil.copytree(FOLDER, copy)
    monkeypatch.setattr("solutions.stores.sql.migrate.FOLDER", copy)
    return copy


def test_two_migrations_of_one_number_are_refused(folder: Path) -> None:
    """Else only one of them would be run, and nobody would know."""
    (folder / f"{NEWEST:04}_mine.up.sql").write_text("CREATE TABLE mine (id bigint);")
    with pytest.raises(ValueError, match=f"{NEWEST:04}_mine.up.sql and .* have one number"):
        versions()


def test_without_a_file_there_is_no_way_back(empty: AnyLoop, folder: Path) -> None:
    number = NEWEST + 1
    (folder / f"{number:04}_mine.up.sql").write_text("")
    own = folder / f"{number:04}_mine.up.{empty.dialect}.sql"
    own.write_text("CREATE TABLE mine (id bigint);")
    empty.wait(migrate(empty))
    assert "mine" in tables(empty)
    with pytest.raises(ValueError, match=r"There is no \d+_mine.down.sql"):
        empty.wait(migrate(empty, NEWEST))
    assert empty.wait(version_of(empty)) == number
    empty.now("DROP TABLE mine")
    empty.now("DELETE FROM migrations WHERE number = :number", number=number)


def test_what_newer_code_has_made_is_left_to_it(empty: AnyLoop) -> None:
    empty.wait(migrate(empty))
    empty.now("INSERT INTO migrations (number) VALUES (:number)", number=NEWEST + 1)
    for target in (None, 0, NEWEST):
        with pytest.raises(ValueError, match=f"has version {NEWEST + 1}"):
            empty.wait(migrate(empty, target))
    assert tables(empty) == TABLES[NEWEST]


def test_four_who_migrate_at_once(empty: AnyLoop, database_url: str) -> None:
    """Four workers' start scripts: each step happens once, and all end well."""

    async def go() -> list[str]:
        async with open_database(database_url, 2) as database:
            done: list[str] = await migrate(database)
            return done

    for target in (NEWEST, 0):
        empty.wait(migrate(empty, NEWEST - target))
        if target:
            empty.now("DROP TABLE migrations")  # the first of all
        done = at_once(*[go] * 4)
        assert all(isinstance(each, list) for each in done), done
        files = [name for each in done for name in each]
        assert len(files) == len(set(files)) == (NEWEST if target else 0), done
    assert tables(empty) == TABLES[NEWEST]


def add_a_step(text: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    from solutions.stores.sql import migrate as module

    for file in module.FOLDER.glob("*.sql"):
        (folder / file.name).write_text(file.read_text())
    (folder / "0009_step.up.sql").write_text(text)
    monkeypatch.setattr(module, "FOLDER", folder)


@contextmanager
def migrating(database_url: str) -> Iterator[None]:
    """Let somebody else migrate for longer than the app would wait."""

    async def hold() -> None:
        async with (
            open_database(database_url, 1, A_DAY) as database,
            database.transaction(*alone_migrating(database.dialect)),
        ):
            is_in.set()
            await asyncio.sleep(PATIENCE + 1)

    is_in = threading.Event()
    holder = threading.Thread(target=lambda: asyncio.run(hold()))
    holder.start()
    assert is_in.wait(30)
    yield
    holder.join()


def test_the_command_waits_for_another_one_and_has_time(
    empty: AnyLoop, database_url: str, development: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A large table's index takes more than the app's patience."""
    from solutions.stores.sql import migrate as module

    slow = {"sqlite": "SELECT 1", "postgresql": f"SELECT pg_sleep({PATIENCE + 1})"}
    add_a_step(slow[empty.dialect], development, tmp_path)
    development.setenv("DATABASE_URL", database_url)
    development.setattr(sys, "argv", ["migrate"])
    with migrating(database_url):
        module.main()
    assert empty.wait(version_of(empty)) == 9


def test_the_command_does_not_let_the_service_wait_behind_it(
    development: pytest.MonkeyPatch, postgres_url: str
) -> None:
    """Who waits for a table that somebody reads keeps out all who come later."""
    from solutions.stores.sql import migrate as module

    development.setenv("DATABASE_URL", postgres_url)
    development.setattr(sys, "argv", ["migrate", "--to", "1"])

    async def read() -> None:
        async with open_database(postgres_url, 1, A_DAY) as database, database.transaction():
            await database.run("LOCK TABLE users IN ACCESS SHARE MODE")
            with pytest.raises(SystemExit, match="does somebody hold a table"):
                await asyncio.to_thread(module.main)

    began = time.monotonic()
    asyncio.run(read())
    assert time.monotonic() - began < 20 * PATIENCE


def test_a_step_that_fails_leaves_nothing(
    empty: AnyLoop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = "CREATE TABLE half (x bigint);\nINSERT INTO nothing (x) VALUES (1);\n"
    add_a_step(wrong, monkeypatch, tmp_path)
    with pytest.raises(WrongStatement):
        empty.wait(migrate(empty))
    assert tables(empty) == TABLES[NEWEST], "Half a step is done."
    assert empty.wait(version_of(empty)) == NEWEST


# What the code of lessons 01 to 07 says to its tables. It knows no others.
OLD_CODE = [
    "INSERT INTO users (username, email, full_name, disabled, role, scopes, security_stamp,"
    " hashed_password) VALUES ('frank', NULL, NULL, 0, 'user', '[\"me\"]', 'stamp', 'hash')"
    " ON CONFLICT (username) DO NOTHING",
    "UPDATE users SET full_name = 'Frank' WHERE username = 'frank'",
    "UPDATE users SET hashed_password = 'new', security_stamp = 'new' WHERE username = 'frank'",
    "INSERT INTO refresh_tokens (digest, family, username, stamp, scopes, expires_at, spent)"
    " VALUES ('of frank', 'f', 'frank', 's', '[]', 1, 0)",
    "UPDATE refresh_tokens SET spent = 1 WHERE digest = 'of frank' AND spent = 0",
    "INSERT INTO revoked_families (family, expires_at) VALUES ('f', 1) ON CONFLICT DO NOTHING",
    "INSERT INTO api_keys (digest, id, number, prefix, name, owner, stamp, scopes, created_at,"
    " expires_at) VALUES ('k', 'k', 1, 'p', 'n', 'frank', 's', '[]', 1, 1)",
    "DELETE FROM api_keys WHERE owner = 'frank' AND id = 'k'",
    "SELECT username, email, full_name, disabled, role, scopes, security_stamp, hashed_password"
    " FROM users",
]


def test_old_code_works_on_the_new_tables_and_beside_new_code(empty: AnyLoop) -> None:
    """One worker after the other gets the new code, after the migration."""
    empty.wait(migrate(empty, 1))
    for statement in OLD_CODE[:1]:
        empty.now(statement)
    empty.wait(migrate(empty))
    empty.wait(fill(empty))
    for statement in OLD_CODE:
        empty.now(statement)
    people = {each.username: each for each in empty.wait(stores_on(empty).users.everyone())}
    assert set(people) == {"erin", "frank"}
    assert people["frank"].account_id == "of-frank" and people["frank"].has_password
    assert people["frank"].hashed_password == "new"
    changed = empty.wait(stores_on(empty).users.change("frank", role="admin"))
    assert changed.account_id == "of-frank"


# --- the command ------------------------------------------------------------------------------


def command(*arguments: str, folder: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "solutions.stores.sql.migrate", *arguments],
        cwd=folder,
        env=ENVIRONMENT | {"PYTHONPATH": str(ROOT), "JWT_SECRET": "x" * 31 + "y"} | env,
        capture_output=True,
        text=True,
        timeout=processes.PATIENCE,
        check=False,
    )


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    up = command(DATABASE_URL=url)
    names = [file.name for file in versions().values()]
    assert up.stdout.splitlines() == [*names, f"The database has version {NEWEST}."]
    again = command(DATABASE_URL=url)
    assert again.stdout.splitlines() == ["Nothing to do.", f"The database has version {NEWEST}."]
    down = command("--to", "0", DATABASE_URL=url)
    assert down.stdout.splitlines()[-1] == "The database has version 0."


@pytest.mark.parametrize(
    ("url", "arguments", "sentence"),
    [
        ("mysql://root:s3cret-4711@x/y", [], "Not started: DATABASE_URL: give sqlite:///file.db"),
        ("sqlite:////no/such/folder/x.db", [], "The database cannot be asked."),
        ("postgresql://a:s3cret-4711@127.0.0.1:1/x", [], "The database cannot be asked."),
        ("postgresql://a:s3cret-4711%zz@127.0.0.1/x", [], "Not started: DATABASE_URL: it cannot"),
        ("postgresql://a:s3cret-4711@127.0.0.1:x/x", [], "Not started: DATABASE_URL: it cannot"),
        ("postgresql://a:s3cret-4711/b@127.0.0.1/x", [], "Not started: DATABASE_URL: it cannot"),
        ("postgresql://a:b@s3cret-4711@127.0.0.1/x", [], "Not started: DATABASE_URL: it cannot"),
        ("postgresql://a@127.0.0.1/x?s3cret-4711", [], "Not started: DATABASE_URL: it cannot"),
        ("sqlite:///x.db", ["--to", "99"], f"There is no version 99. There are 0 to {NEWEST}."),
    ],
)
def test_what_cannot_be_done_is_one_sentence_without_the_password(
    url: str, arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    done = command(*arguments, folder=tmp_path, DATABASE_URL=url)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert sentence in said, said
    assert "Traceback" not in said and "s3cret-4711" not in said, said


def test_a_missing_driver_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('not installed')\n")
    url = "postgresql://a:s3cret-4711@127.0.0.1:1/x"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = command(folder=tmp_path, DATABASE_URL=url, PYTHONPATH=path)
    assert 'Type: pip install "psycopg[binary,pool]>=3.3"' in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.returncode != 0


@pytest.mark.parametrize("version", [0, 1])
def test_an_app_does_not_start_on_older_tables(
    version: int, development: pytest.MonkeyPatch, empty: AnyLoop, database_url: str
) -> None:
    from fastapi.testclient import TestClient

    from solutions.database import app
    from solutions.support.settings import UnsafeSettings

    empty.wait(migrate(empty, version))
    development.setenv("DATABASE_URL", database_url)
    sentence = f"the tables are those of version {version}, and this code needs {NEWEST}"
    with pytest.raises(UnsafeSettings, match=sentence), TestClient(app):
        pass
    empty.wait(migrate(empty))
    empty.now("INSERT INTO migrations (number) VALUES (:number)", number=NEWEST + 1)
    with TestClient(app) as client:  # the migration of the next version comes before its code
        assert client.post("/revoke", data={"token": "x"}).status_code == 200
