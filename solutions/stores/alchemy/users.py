"""People in a database, by SQLAlchemy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import case, delete, select, update

from ...support.seams import note
from ..sql.locks import alone_on
from ..users import UserInDB, complete, fold_username, new_security_stamp
from .engine import AlchemyDatabase
from .models import PersonRow
from .statements import insert_into


class AlchemyUsers:
    """A `UserStore` in a database."""

    def __init__(self, database: AlchemyDatabase) -> None:
        self.database = database

    async def get(self, username: str) -> UserInDB | None:
        """Return the person of that name in any spelling, or None."""
        row = await self.database.first(
            select(PersonRow).where(PersonRow.username == _folded(username))
        )
        return _to_person(row) if row else None

    async def everyone(self) -> list[UserInDB]:
        """Return all people."""
        rows = await self.database.all(select(PersonRow).order_by(PersonRow.username))
        return [_to_person(row) for row in rows]

    async def add(self, person: UserInDB) -> bool:
        """Store a new person; False when the name is taken. The key of the table decides."""
        username = fold_username(person.username)
        if username is None:
            raise ValueError("not a username")
        note(whom=username)
        whole = person.model_dump() | {"hashed_password": person.hashed_password}
        added = await self.database.first(
            insert_into(PersonRow, self.database.dialect)
            .values(_columns(whole | {"username": username}))
            .on_conflict_do_nothing(index_elements=[PersonRow.username])
            .returning(PersonRow.username)
        )
        return added is not None

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        """Store the same password's new hash, if `old` is still the stored one."""
        replaced = await self.database.first(
            update(PersonRow)
            .where(PersonRow.username == _folded(username), PersonRow.hashed_password == old)
            .values(hashed_password=new)
            .returning(PersonRow.username)
        )
        return replaced is not None

    async def change(self, username: str, **changes: Any) -> UserInDB | None:
        """Change fields of a person and return the result; None when there is no such person."""
        columns = _columns(complete(changes))
        if not columns:
            return await self.get(username)
        if columns.get("disabled") == 0 and "security_stamp" not in columns:
            columns["security_stamp"] = case(
                (PersonRow.disabled == 1, new_security_stamp()), else_=PersonRow.security_stamp
            )
        row = await self.database.first(
            update(PersonRow)
            .where(PersonRow.username == _folded(username))
            .values(columns)
            .returning(PersonRow)
        )
        return _to_person(row) if row else None

    async def remove(self, username: str) -> bool:
        """Forget a person; False when there is none of that name."""
        removed = await self.database.first(
            delete(PersonRow)
            .where(PersonRow.username == _folded(username))
            .returning(PersonRow.username)
        )
        return removed is not None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Let nobody else write people until the block ends; an exception undoes what it wrote."""
        async with self.database.transaction(
            *alone_on(PersonRow.__tablename__, self.database.dialect)
        ):
            yield


def _folded(username: str) -> str:
    return fold_username(username) or ""  # which nobody is called


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _column(value) for name, value in values.items()}


def _column(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    # A role is more than a text, and a driver would ask what.
    return str(value) if isinstance(value, str) else value


def _to_person(row: PersonRow) -> UserInDB:
    return UserInDB(
        username=row.username,
        email=row.email,
        full_name=row.full_name,
        disabled=bool(row.disabled),
        role=row.role,
        scopes=[*row.scopes],
        security_stamp=row.security_stamp,
        # Code from before lesson 08 leaves it empty, and one empty text would be one account.
        account_id=row.account_id or f"of-{row.username}",
        has_password=bool(row.has_password),
        hashed_password=row.hashed_password,
    )
