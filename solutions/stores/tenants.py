"""What belongs to tenants: rows, each with the tenant that it is of.

Routes reach this store through `get_tenants` only, and rows through what narrows them to a tenant.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Protocol, cast

from fastapi import Depends

from .chosen import chosen_stores
from .one_at_a_time import OneAtATime
from .sql.database import Unstorable, Value, check

Row = Mapping[str, Any]
Fields = Mapping[str, Value]
Kept = dict[str, Value | Sequence[str]]  # a list stands for any one of its values
Where = Mapping[str, Value | Sequence[str]]
After = tuple[int, str]  # where a page goes on: the number and the key of the last row before

COLUMNS = {  # each table also has `number`, by which rows are in order
    "tenants": ("tenant", "name"),
    "memberships": ("tenant", "account_id", "username", "email", "role"),
    "items": ("tenant", "id", "title", "done", "made_by"),
    "invitations": ("tenant", "digest", "id", "email", "role", "invited_by", "expires_at"),
    "tenant_keys": (
        *("tenant", "digest", "id", "prefix", "name", "account_id", "username", "stamp"),
        *("created_at", "expires_at"),
    ),
}
KEYS = {  # what tells a row from the others of its tenant
    "tenants": "tenant",
    "memberships": "account_id",
    "items": "id",
    "invitations": "digest",
    "tenant_keys": "digest",
}
SEARCHED = {"items": "title"}  # the column that `containing` looks at


class Rows(Protocol):
    """The rows of all tenants. It narrows nothing by itself.

    Tables and columns are those above; any other one is a ValueError. Each method is one step.
    A value that no database could keep is one that no row has.
    """

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

    async def count(self, table: str, where: Where, *, containing: str = "") -> int:
        """Return how many rows have these values."""

    async def add(self, table: str, fields: Fields) -> bool:
        """Keep a new row; False when its tenant has one with this key.

        Raises Unstorable for a text that no database could keep.
        """

    async def change(self, table: str, where: Where, fields: Fields) -> list[Row]:
        """Change fields of the rows with these values, and return the rows as they are now."""

    async def remove(self, table: str, where: Where, *, before: int | None = None) -> list[Row]:
        """Forget the rows with these values, and return them.

        With `before` only those whose `expires_at` is before that moment.
        """

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Let no other transaction of the same tenant in until the block ends.

        What the block has looked up still holds when it writes, if others write in such blocks,
        too. An exception undoes what it wrote. The block waits for nothing but the store.
        """


@dataclass(frozen=True)
class Belonging:
    """A tenant that somebody is in, and what they are there."""

    tenant: str
    name: str
    role: str


class TenantStore(Protocol):
    """Where the rows are."""

    def rows(self, tenant: str) -> Rows:
        """Return the rows, for work in one tenant.

        A database that has a wall of its own hands out rows of this tenant only. Others hand out
        all: to narrow them is up to the caller.
        """

    async def of(self, account_id: str) -> list[Belonging]:
        """Return the tenants that an account is in, by name."""


def checked(table: str, *columns: str) -> None:
    """Raise ValueError for a table or a column that there is not: none comes from a caller."""
    known = (*COLUMNS.get(table, ()), "number")
    if unknown := [each for each in columns if each not in known]:
        raise ValueError(f"{table} has no {', '.join(sorted(unknown))}")


def storable(where: Where) -> Kept | None:
    """Return what a row could have of these values; None when no row can be meant."""
    kept: Kept = {}
    for name, value in where.items():
        texts = [value] if isinstance(value, str | int) or value is None else value
        could_be = [text for text in texts if _is_storable(text)]
        if not could_be:
            return None
        kept[name] = value if value in could_be else cast(Sequence[str], could_be)
    return kept


def _is_storable(value: Value) -> bool:
    try:
        check({"": value})
    except Unstorable:
        return False
    return True


class MemoryRows:
    """`Rows` in memory. They are lost at a restart."""

    def __init__(self) -> None:
        self._one = OneAtATime()
        self._tables: dict[str, list[dict[str, Any]]] = {table: [] for table in COLUMNS}

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
        key = KEYS[table]
        async with self._one.enter():
            found: list[Row] = [
                dict(row)
                for row in self._having(table, where, containing)
                if after is None or (row["number"], row[key]) > after
            ]
        return sorted(found, key=lambda row: (row["number"], row[key]))[:limit]

    async def count(self, table: str, where: Where, *, containing: str = "") -> int:
        """Return how many rows have these values."""
        async with self._one.enter():
            return len(self._having(table, where, containing))

    async def add(self, table: str, fields: Fields) -> bool:
        """Keep a new row; False when its tenant has one with this key."""
        checked(table, *fields)
        check(fields)
        same = {name: fields[name] for name in ("tenant", KEYS[table])}
        async with self._one.enter():
            if self._having(table, same):
                return False
            others = self._having(table, {"tenant": fields["tenant"]})
            number = max((row["number"] for row in others), default=0) + 1
            self._tables[table].append({**fields, "number": number})
            return True

    async def change(self, table: str, where: Where, fields: Fields) -> list[Row]:
        """Change fields of the rows with these values, and return the rows as they are now."""
        checked(table, *fields)
        check(fields)
        async with self._one.enter():
            changed = self._having(table, where)
            for row in changed:
                row.update(fields)
            return [dict(row) for row in changed]

    async def remove(self, table: str, where: Where, *, before: int | None = None) -> list[Row]:
        """Forget the rows with these values, and return them."""
        async with self._one.enter():
            removed = [
                row
                for row in self._having(table, where)
                if before is None or row["expires_at"] < before
            ]
            self._tables[table] = [row for row in self._tables[table] if row not in removed]
            return [dict(row) for row in removed]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Let nobody else in until the block ends; an exception undoes what it wrote."""
        if self._one.is_mine:  # a part of the block around it, as in a database
            yield
            return
        async with self._one.enter():
            before = {table: [dict(row) for row in rows] for table, rows in self._tables.items()}
            try:
                yield
            except BaseException:
                self._tables = before
                raise

    def _having(self, table: str, where: Where, containing: str = "") -> list[dict[str, Any]]:
        checked(table, *where)
        rows = self._tables[table]
        for name, value in where.items():
            values = {value} if isinstance(value, str | int) or value is None else {*value}
            rows = [row for row in rows if row[name] in values]
        return [row for row in rows if not containing or containing in row[SEARCHED[table]]]


class MemoryTenantStore:
    """A `TenantStore` in memory, without a wall of its own."""

    def __init__(self) -> None:
        self._rows = MemoryRows()

    def rows(self, tenant: str) -> Rows:
        """Return the rows of all tenants."""
        return self._rows

    async def of(self, account_id: str) -> list[Belonging]:
        """Return the tenants that an account is in, by name."""
        mine = {
            row["tenant"]: row["role"]
            for row in await self._rows.find("memberships", {"account_id": account_id})
        }
        found = await self._rows.find("tenants", {"tenant": [*mine]})
        belongings = [Belonging(row["tenant"], row["name"], mine[row["tenant"]]) for row in found]
        return sorted(belongings, key=lambda each: (each.name, each.tenant))


@lru_cache
def open_tenant_store() -> MemoryTenantStore:
    """Build the process's one store."""
    return MemoryTenantStore()


async def get_tenants() -> TenantStore:
    """Hand the store to a route. `async`, as `get_users` is, and for the same reasons."""
    stores = chosen_stores.get()
    if stores is None:
        return open_tenant_store()
    if stores.tenants is None:
        raise RuntimeError("These stores have no tenants. Those of lesson 13 have.")
    return stores.tenants


Tenants = Annotated[TenantStore, Depends(get_tenants)]
