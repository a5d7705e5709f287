"""The rows of tenants: one contract for all stores, and PostgreSQL's own wall."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from solutions.stores.sql.database import Database, Unstorable
from solutions.stores.sql.migrate import migrate
from solutions.stores.sql.opening import open_database
from solutions.stores.sql.tenants import SqlTenants
from solutions.stores.tenants import MemoryTenantStore, Rows, TenantStore
from solutions.support.row_security import look_at_the_wall
from solutions.support.settings import UnsafeSettings
from solutions.tenants import stores_on as plain
from tests.postgres import QUICK, Postgres, postgres

A, B = "a" * 32, "b" * 32
Test = Callable[[TenantStore], Awaitable[Any]]
Run = Callable[[Test], Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres(**QUICK) as server:
        server.execute("CREATE ROLE shop LOGIN PASSWORD 'shop'")
        yield server


def url_for(server: Postgres) -> str:
    """Make a database that belongs to an ordinary role, as an app's should."""
    url = server.new_database()
    name = url.rpartition("/")[2]
    server.execute(f"ALTER DATABASE {name} OWNER TO shop")
    return f"postgresql://shop:shop@127.0.0.1:{server.port}/{name}"


@asynccontextmanager
async def migrated(
    url: str, connections: int = 5, opening: Callable[..., Any] = open_database
) -> AsyncIterator[Database]:
    async with opening(url, connections) as database:
        await migrate(database)
        yield database


KINDS = ["memory", "sqlite", "postgresql", "sqlite_by_alchemy", "postgresql_by_alchemy"]


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run a test on a store with two tenants, of which each has an item of the same id."""
    engine: tuple[Any, Any] = by_alchemy() if "alchemy" in request.param else (open_database, plain)
    opening, stores_on = engine
    if request.param.startswith("postgresql"):
        url = url_for(request.getfixturevalue("server"))
    else:
        url = f"sqlite:///{tmp_path}/file.db"

    async def fill_and_run(store: TenantStore, test: Test) -> Any:
        for tenant in (A, B):
            rows = store.rows(tenant)
            assert await rows.add("tenants", {"tenant": tenant, "name": "shop"})
            for number in (1, 2, 3):
                assert await rows.add("items", item(tenant, str(number)))
        return await test(store)

    async def on_a_database(test: Test) -> Any:
        async with migrated(url, opening=opening) as database:
            return await fill_and_run(stores_on(database).tenants, test)

    if request.param == "memory":
        return lambda test: asyncio.run(fill_and_run(MemoryTenantStore(), test))
    return lambda test: asyncio.run(on_a_database(test))


def by_alchemy() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what opens a database by SQLAlchemy, and the stores on it."""
    from solutions.stores.alchemy.app import stores_on
    from solutions.stores.alchemy.engine import open_alchemy

    return open_alchemy, stores_on


def item(tenant: str, key: str, **fields: Any) -> dict[str, Any]:
    about = {"title": f"of {tenant[0]}, {key}", "done": 0, "made_by": "alice"}
    return {"tenant": tenant, "id": key, **about, **fields}


def ids(rows: list[Any]) -> list[str]:
    return [f"{row['tenant'][0]}{row['id']}" for row in rows]


def test_rows_are_kept_found_changed_and_removed(run: Run) -> None:
    async def test(store: TenantStore) -> None:
        rows, mine = store.rows(A), {"tenant": A}
        assert ids(await rows.find("items", mine)) == ["a1", "a2", "a3"]
        assert await rows.count("items", mine) == 3
        assert not await rows.add("items", item(A, "1")), "The key is taken."
        assert ids(await rows.find("items", {**mine, "id": ["1", "3", "9"]})) == ["a1", "a3"]
        assert await rows.find("items", {**mine, "id": []}) == []
        changed = await rows.change("items", {**mine, "id": "2"}, {"done": 1, "title": "new"})
        assert [(row["id"], row["done"], row["title"]) for row in changed] == [("2", 1, "new")]
        assert ids(await rows.find("items", {**mine, "done": 1})) == ["a2"]
        (row,) = await rows.change("items", {**mine, "id": "2"}, {"done": True})
        assert row["done"] == 1
        assert await rows.add("items", item(A, "4", done=False))
        assert ids(await rows.find("items", {**mine, "done": True})) == ["a2"]
        assert ids(await rows.remove("items", {**mine, "id": "4"})) == ["a4"]
        assert ids(await rows.remove("items", {**mine, "id": "2"})) == ["a2"]
        assert await rows.remove("items", {**mine, "id": "2"}) == []
        assert ids(await rows.find("items", mine)) == ["a1", "a3"]
        assert ids(await store.rows(B).find("items", {"tenant": B})) == ["b1", "b2", "b3"]

    run(test)


def test_pages_follow_each_other_in_order(run: Run) -> None:
    async def test(store: TenantStore) -> None:
        rows, mine = store.rows(A), {"tenant": A}
        for number in range(4, 10):
            await rows.add("items", item(A, str(number)))
        seen, after = [], None
        while page := await rows.find("items", mine, after=after, limit=4):
            assert len(page) <= 4
            seen += ids(page)
            after = page[-1]["number"], page[-1]["id"]
        assert seen == [f"a{number}" for number in range(1, 10)]
        assert [row["number"] for row in await rows.find("items", mine)] == list(range(1, 10))

    run(test)


@pytest.mark.parametrize("odd", ["%", "_", "\\", "'", '"', ";--", "%s", ":tenant", "$1", "{0}"])
def test_a_search_is_no_pattern(run: Run, odd: str) -> None:
    async def test(store: TenantStore) -> None:
        rows, mine = store.rows(A), {"tenant": A}
        await rows.add("items", item(A, "odd", title=f"this {odd} that"))
        assert ids(await rows.find("items", mine, containing=f"s {odd} t")) == ["aodd"]
        assert ids(await rows.find("items", mine, containing=odd)) == ["aodd"]
        assert await rows.count("items", mine, containing=odd) == 1
        assert await rows.count("items", {**mine, "title": odd}) == 0

    run(test)


def test_what_no_database_keeps_is_not_there(run: Run) -> None:
    async def test(store: TenantStore) -> None:
        rows = store.rows(A)
        for odd in ("\0", "a\0", "\ud800"):
            where = {"tenant": A, "id": odd}
            assert await rows.find("items", where) == []
            assert ids(await rows.find("items", {"tenant": A, "id": ["1", odd]})) == ["a1"]
            assert await rows.count("items", where) == 0
            assert await rows.change("items", where, {"done": 1}) == []
            assert await rows.remove("items", where) == []
            assert await store.rows(odd).find("items", {"tenant": odd}) == []
            with pytest.raises(Unstorable):
                await rows.add("items", item(A, "4", title=odd))
            with pytest.raises(Unstorable):
                await rows.change("items", {"tenant": A, "id": "1"}, {"title": odd})
        assert ids(await rows.find("items", {"tenant": A})) == ["a1", "a2", "a3"]

    run(test)


def test_tables_and_columns_are_those_that_there_are(run: Run) -> None:
    async def test(store: TenantStore) -> None:
        rows = store.rows(A)
        for table, column in (("items", "id = id --"), ("items", "role"), ("items", "")):
            with pytest.raises(ValueError, match="has no"):
                await rows.find(table, {column: "1"})
            with pytest.raises(ValueError, match="has no"):
                await rows.change(table, {"id": "1"}, {column: "1"})
        with pytest.raises((ValueError, KeyError)):
            await rows.find("users", {"username": "alice"})

    run(test)


def test_an_exception_undoes_what_a_transaction_wrote(run: Run) -> None:
    async def test(store: TenantStore) -> None:
        rows = store.rows(A)
        with suppress(ZeroDivisionError):
            async with rows.transaction():
                await rows.change("items", {"tenant": A}, {"done": 1})
                await rows.remove("items", {"tenant": A, "id": "1"})
                await rows.add("items", item(A, "4"))
                raise ZeroDivisionError
        assert ids(await rows.find("items", {"tenant": A, "done": 0})) == ["a1", "a2", "a3"]

    run(test)


def test_two_transactions_of_a_tenant_are_one_after_the_other(run: Run) -> None:
    async def test(store: TenantStore) -> None:
        inside = set[object]()

        async def take_one() -> None:
            rows = store.rows(A)
            async with rows.transaction():
                inside.add(rows)
                left = await rows.count("items", {"tenant": A})
                for _ in range(5):
                    await asyncio.sleep(0)
                assert inside == {rows}
                if left > 1:
                    oldest = (await rows.find("items", {"tenant": A}, limit=1))[0]["id"]
                    await rows.remove("items", {"tenant": A, "id": oldest})
                inside.remove(rows)

        await asyncio.gather(*(take_one() for _ in range(5)))
        assert await store.rows(A).count("items", {"tenant": A}) == 1

    run(test)


def test_expired_rows_go_and_no_others(run: Run) -> None:
    async def test(store: TenantStore) -> None:
        rows = store.rows(A)
        for digest, end in (("old", 10), ("new", 20)):
            about = {"id": digest, "email": "e@example.com", "role": "member", "invited_by": "1"}
            await rows.add(
                "invitations", {"tenant": A, "digest": digest, **about, "expires_at": end}
            )
        removed = await rows.remove("invitations", {"tenant": A}, before=20)
        assert [row["digest"] for row in removed] == ["old"]

    run(test)


def test_somebodys_tenants_are_listed_by_name(run: Run) -> None:
    async def test(store: TenantStore) -> None:
        c = "c" * 32
        await store.rows(c).add("tenants", {"tenant": c, "name": "a shop"})
        for tenant, role in ((A, "member"), (c, "owner")):
            about = {"account_id": "one", "username": "alice", "email": "", "role": role}
            await store.rows(tenant).add("memberships", {"tenant": tenant, **about})
        found = [(each.tenant, each.name, each.role) for each in await store.of("one")]
        assert found == [(c, "a shop", "owner"), (A, "shop", "member")]
        assert await store.of("nobody") == await store.of("") == []

    run(test)


# --- the second wall ------------------------------------------------------------------------


def behind_the_wall(server: Postgres, test: Callable[[Database, SqlTenants], Any]) -> None:
    """Run a test on a pool of one connection, as an ordinary role, with two tenants.

    By either engine, and the second time on tables that Alembic has made.
    """

    async def fill_and_run(opening: Callable[..., Any], stores_on: Callable[..., Any]) -> None:
        async with opening(url_for(server), 1) as database:
            await (migrate(database) if opening is open_database else by_alembic(database))
            store = stores_on(database).tenants
            for tenant in (A, B):
                rows = store.rows(tenant)
                await rows.add("tenants", {"tenant": tenant, "name": "shop"})
                for number in (1, 2):
                    await rows.add("items", item(tenant, str(number)))
                await rows.add("memberships", member(tenant, f"of-{tenant[0]}"))
            await test(database, store)

    for opening, stores_on in ((open_database, plain), by_alchemy()):
        asyncio.run(fill_and_run(opening, stores_on))


async def by_alembic(database: Any) -> None:
    """Make the tables as `alembic upgrade head` does."""
    from alembic.command import upgrade

    from solutions.stores.alchemy.migrating import alone, config_on

    async with alone(database) as connection:
        await connection.run_sync(lambda it: upgrade(config_on(it), "head"))


def member(tenant: str, account: str) -> dict[str, Any]:
    about = {"account_id": account, "username": account, "email": "", "role": "owner"}
    return {"tenant": tenant, **about}


def test_a_query_without_the_filter_sees_one_tenant(server: Postgres) -> None:
    async def test(database: Database, store: SqlTenants) -> None:
        a, b = store.rows(A), store.rows(B)
        for _ in range(3):  # in turn, on one connection
            assert ids(await a.find("items", {})) == ["a1", "a2"]
            assert ids(await b.find("items", {})) == ["b1", "b2"]
            assert await a.count("items", {}) == await b.count("items", {}) == 2
            assert [row["tenant"] for row in await b.find("tenants", {})] == [B]
            assert [row["tenant"] for row in await a.find("memberships", {})] == [A]
            assert await a.find("items", {"tenant": B}) == []
        assert ids(await a.change("items", {}, {"done": 1})) == ["a1", "a2"]
        assert ids(await b.remove("items", {})) == ["b1", "b2"]
        assert ids(await a.find("items", {"done": 1})) == ["a1", "a2"]

    behind_the_wall(server, test)


def test_no_row_is_written_into_another_tenant(server: Postgres) -> None:
    async def test(database: Database, store: SqlTenants) -> None:
        rows = store.rows(A)
        for fields in (item(B, "9"), item("c" * 32, "9")):
            with pytest.raises(Exception, match="row-level security"):
                await rows.add("items", fields)
        with pytest.raises(Exception, match="row-level security"):
            await rows.change("items", {"id": "1"}, {"tenant": B})
        with pytest.raises(Exception, match="row-level security"):
            await rows.add("memberships", member(B, "mallory"))
        with pytest.raises(Exception, match="row-level security"):
            await store.rows("c" * 32).add("tenants", {"tenant": "d" * 32, "name": "x"})
        assert ids(await rows.find("items", {})) == ["a1", "a2"]
        assert ids(await store.rows(B).find("items", {})) == ["b1", "b2"]

    behind_the_wall(server, test)


def test_nothing_of_a_tenant_is_left_in_the_pool(server: Postgres) -> None:
    tables = ("tenants", "memberships", "items", "invitations", "tenant_keys")

    async def nothing_is_seen(database: Database) -> None:
        for table in tables:
            assert await database.run(f"SELECT * FROM {table}") == [], table

    async def test(database: Database, store: SqlTenants) -> None:
        await nothing_is_seen(database)
        assert await store.rows(A).find("items", {})
        await nothing_is_seen(database)
        assert await store.of("of-b")
        await nothing_is_seen(database)
        with suppress(ZeroDivisionError):
            async with store.rows(A).transaction():
                assert await database.run("SELECT * FROM items")
                raise ZeroDivisionError
        await nothing_is_seen(database)
        for nobody in ("", "\0", "' OR true --", A.upper(), f"{A},{B}", "%"):
            assert await store.rows(nobody).find("items", {}) == []

    behind_the_wall(server, test)


def test_every_table_with_a_tenant_is_behind_the_wall(server: Postgres) -> None:
    """A later migration that forgets it is found here."""

    async def test(database: Database, store: SqlTenants) -> None:
        rows = await database.run(
            "SELECT pg_class.relname AS name, relrowsecurity AND relforcerowsecurity AS walled"
            " FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
            " WHERE attname = 'tenant' AND relkind = 'r' ORDER BY 1"
        )
        names = ["invitations", "items", "memberships", "tenant_keys", "tenants"]
        assert [(row["name"], row["walled"]) for row in rows] == [(name, True) for name in names]

    behind_the_wall(server, test)


def test_who_is_asked_for_sees_which_tenants_and_nothing_in_them(server: Postgres) -> None:
    async def test(database: Database, store: SqlTenants) -> None:
        assert [each.tenant for each in await store.of("of-a")] == [A]
        async with database.transaction():
            await database.run("SELECT set_config('app.account', 'of-a', true)")
            assert [row["tenant"] for row in await database.run("SELECT * FROM tenants")] == [A]
            assert await database.run("SELECT * FROM items") == []
            assert await database.run("UPDATE memberships SET role = 'x' RETURNING role") == []
            assert await database.run("DELETE FROM tenants RETURNING tenant") == []

    behind_the_wall(server, test)


def test_a_superuser_passes_the_wall_so_production_refuses_to_start(
    server: Postgres, fresh_settings: pytest.MonkeyPatch
) -> None:
    from lessons.harness.candidate import clear_caches

    server.execute("DROP ROLE IF EXISTS passer")
    server.execute("CREATE ROLE passer LOGIN PASSWORD 'shop' BYPASSRLS")

    async def look(url: str) -> None:
        async with open_database(url, 1) as database:
            await look_at_the_wall(database)

    for name, value in {
        "ENVIRONMENT": "production",
        "JWT_SECRET": "x" * 31 + "y",
        "JWT_ISSUER": "https://shop.example",
        "JWT_AUDIENCE": "shop",
    }.items():
        fresh_settings.setenv(name, value)
    ordinary = f"postgresql://shop:shop@127.0.0.1:{server.port}/postgres"
    asyncio.run(look(ordinary))
    for url in (server.url(), ordinary.replace("//shop:", "//passer:")):
        with pytest.raises(UnsafeSettings, match="superuser or has BYPASSRLS"):
            asyncio.run(look(url))
    fresh_settings.setenv("ENVIRONMENT", "development")
    clear_caches()
    asyncio.run(look(server.url()))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_migration_goes_up_and_back_and_up(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/file.db"
    if kind == "postgresql":
        url = url_for(request.getfixturevalue("server"))

    async def there_and_back() -> None:
        async with migrated(url, 1) as database:
            rows: Rows = SqlTenants(database).rows(A)
            await rows.add("tenants", {"tenant": A, "name": "shop"})
            assert await migrate(database, 2) == ["0003_tenants.down.sql"]
            assert await migrate(database) == ["0003_tenants.up.sql"]
            assert await rows.find("tenants", {}) == []
            assert await rows.add("tenants", {"tenant": A, "name": "shop"})

    asyncio.run(there_and_back())
