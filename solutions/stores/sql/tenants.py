"""What belongs to tenants, in a database. In PostgreSQL with a wall of its own.

There each statement runs in a transaction that says for which tenant, and the policies of migration
0003 let it see and write rows of that tenant only. SQLite has no such wall.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from ..chosen import Stores
from ..tenants import (
    COLUMNS,
    KEYS,
    SEARCHED,
    After,
    Belonging,
    Fields,
    Row,
    Rows,
    Where,
    checked,
    storable,
)
from .database import Database, Value

ID = re.compile(r"[0-9a-f]{32}")
Values = dict[str, Value]


class SqlRows:
    """`Rows` in a database, for work in one tenant. All values are values, never statement."""

    def __init__(self, database: Database, tenant: str) -> None:
        self.database, self.tenant = database, tenant

    async def find(
        self,
        table: str,
        where: Where,
        *,
        after: After | None = None,
        limit: int | None = None,
        containing: str = "",
    ) -> list[Row]:
        """Return the rows with these values, the oldest first."""
        condition, values = self._condition(table, where, containing, after)
        if limit is not None:
            values["most"] = limit
        return await self._where(
            condition,
            f"SELECT * FROM {table} WHERE {condition} ORDER BY number, {KEYS[table]}"  # noqa: S608
            + (" LIMIT :most" if limit is not None else ""),
            values,
        )

    async def count(self, table: str, where: Where, *, containing: str = "") -> int:
        """Return how many rows have these values."""
        condition, values = self._condition(table, where, containing)
        rows = await self._where(
            condition,
            f"SELECT count(*) AS rows FROM {table} WHERE {condition}",  # noqa: S608
            values,
        )
        return int(rows[0]["rows"]) if rows else 0

    async def add(self, table: str, fields: Fields) -> bool:
        """Keep a new row; False when its tenant has one with this key."""
        checked(table, *fields)
        names = [name for name in COLUMNS[table] if name in fields]
        columns, values = ", ".join(names), ", ".join(f":{name}" for name in names)
        added = await self._run(
            f"INSERT INTO {table} ({columns}, number) VALUES ({values},"  # noqa: S608
            f" (SELECT coalesce(max(number), 0) + 1 FROM {table} WHERE tenant = :tenant))"
            " ON CONFLICT DO NOTHING RETURNING tenant",
            dict(fields),
        )
        return bool(added)

    async def change(self, table: str, where: Where, fields: Fields) -> list[Row]:
        """Change fields of the rows with these values, and return the rows as they are now."""
        checked(table, *fields)
        condition, values = self._condition(table, where)
        parts = ", ".join(f"{name} = :new_{name}" for name in fields)
        return await self._where(
            condition,
            f"UPDATE {table} SET {parts} WHERE {condition} RETURNING *",  # noqa: S608
            values | {f"new_{name}": value for name, value in fields.items()},
        )

    async def remove(self, table: str, where: Where, *, before: int | None = None) -> list[Row]:
        """Forget the rows with these values, and return them."""
        condition, values = self._condition(table, where)
        if before is not None:
            condition, values["before"] = f"{condition} AND expires_at < :before", before
        return await self._where(
            condition,
            f"DELETE FROM {table} WHERE {condition} RETURNING *",  # noqa: S608
            values,
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Let no other transaction of the same tenant in until the block ends."""
        if self.database.dialect == "sqlite":
            async with self.database.transaction("BEGIN IMMEDIATE"):
                yield
            return
        async with self._in_tenant():
            # The tenant's row is the lock. Other tenants go on, and so does whoever adds a row.
            await self.database.run(
                "SELECT 1 FROM tenants WHERE tenant = :tenant FOR NO KEY UPDATE",
                tenant=self.tenant,
            )
            yield

    def _condition(
        self, table: str, where: Where, containing: str = "", after: After | None = None
    ) -> tuple[str, Values]:
        """Return what a row has to fulfil, and the values in it. Empty when no row can."""
        checked(table, *where)
        others = {"containing": containing, "after": after[1] if after else ""}
        if (kept := storable(where)) is None or storable(others) is None:
            return "", {}
        parts, values = ["1 = 1"], Values()
        for name, value in kept.items():
            if isinstance(value, str | int) or value is None:
                parts.append(f"{name} = :{name}")
                values[name] = value
            else:
                each = {f"{name}_{index}": text for index, text in enumerate(value)}
                parts.append(f"{name} IN ({', '.join(f':{key}' for key in each)})")
                values |= each
        if containing:
            position = "instr" if self.database.dialect == "sqlite" else "strpos"
            parts.append(f"{position}({SEARCHED[table]}, :containing) > 0")
            values["containing"] = containing
        if after:
            parts.append(f"(number, {KEYS[table]}) > (:after_number, :after_key)")
            values |= {"after_number": after[0], "after_key": after[1]}
        return " AND ".join(parts), values

    async def _where(self, condition: str, sql: str, values: Values) -> list[Row]:
        """Run a statement with a condition, unless no row can fulfil it."""
        return await self._run(sql, values) if condition else []

    async def _run(self, sql: str, values: Values) -> list[Row]:
        """Run a statement. True and False are kept as 1 and 0, which PostgreSQL does not do."""
        values = {
            name: int(value) if isinstance(value, bool) else value for name, value in values.items()
        }
        if self.database.dialect == "sqlite":
            return await self.database.run(sql, **values)
        async with self._in_tenant():
            return await self.database.run(sql, **values)

    @asynccontextmanager
    async def _in_tenant(self) -> AsyncIterator[None]:
        """Say for which tenant, until the transaction ends: nothing of it is left in the pool."""
        async with self.database.transaction():
            await self.database.run(
                "SELECT set_config('app.tenant', :tenant, true)", tenant=self.tenant
            )
            yield


class SqlTenants:
    """A `TenantStore` in a database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def rows(self, tenant: str) -> Rows:
        """Return the rows for work in one tenant."""
        return SqlRows(self.database, tenant if ID.fullmatch(tenant) else "")

    async def of(self, account_id: str) -> list[Belonging]:
        """Return the tenants that an account is in, by name."""
        async with self.database.transaction():
            if self.database.dialect == "postgresql":
                await self.database.run(
                    "SELECT set_config('app.account', :account_id, true)", account_id=account_id
                )
            rows = await self.database.run(
                "SELECT tenants.tenant, tenants.name, memberships.role"
                " FROM memberships JOIN tenants ON tenants.tenant = memberships.tenant"
                " WHERE memberships.account_id = :account_id",
                account_id=account_id,
            )
        belongings = [Belonging(row["tenant"], row["name"], row["role"]) for row in rows]
        return sorted(belongings, key=lambda each: (each.name, each.tenant))


def with_tenants(stores_on: Callable[[Database], Stores]) -> Callable[[Database], Stores]:
    """Return what opens all stores on a database, those of tenants too."""
    return lambda database: replace(stores_on(database), tenants=SqlTenants(database))
