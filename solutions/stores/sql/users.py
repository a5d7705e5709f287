"""People in a database. What must be one step is in `database.py` of lesson 12."""

from collections.abc import Iterable
from typing import Any

from ...support.seams import note
from ..users import UserInDB, complete, fold_username, new_security_stamp
from .database import Database, Row, Value
from .locks import alone_on
from .rows import to_text, to_words

TABLE = "users"
COLUMNS = {field: field for field in UserInDB.model_fields}  # the column of each field
ONLY_READ = frozenset[str]()  # fields that the table fills in, as the number of an id
NAME = COLUMNS["username"]


class SqlUsers:
    """The part of a `UserStore` that is one statement a method, and nothing to think about."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def get(self, username: str) -> UserInDB | None:
        """Return the person of that name in any spelling, or None."""
        rows = await self.database.run(
            f"SELECT * FROM {TABLE} WHERE {NAME} = :folded",  # noqa: S608
            folded=fold_username(username),
        )
        return to_person(rows[0]) if rows else None

    async def everyone(self) -> list[UserInDB]:
        """Return all people."""
        rows = await self.database.run(f"SELECT * FROM {TABLE} ORDER BY {NAME}")  # noqa: S608
        return [to_person(row) for row in rows]

    async def change(self, username: str, **changes: Any) -> UserInDB | None:
        """Change fields of a person and return the result; None when there is no such person."""
        changes = complete(changes)
        if not changes:
            return await self.get(username)
        if kept := ONLY_READ & changes.keys():
            raise ValueError(f"cannot change {', '.join(sorted(kept))}")
        # The names are those of the model, looked at by `complete`; the values never get here.
        parts = [f"{COLUMNS[field]} = :{field}" for field in changes]
        if changes.get("disabled") is False and "security_stamp" not in changes:
            disabled, stamp = COLUMNS["disabled"], COLUMNS["security_stamp"]
            parts.append(f"{stamp} = CASE {disabled} WHEN 1 THEN :anew ELSE {stamp} END")
            changes = {**changes, "anew": new_security_stamp()}
        rows = await self.database.run(
            f"UPDATE {TABLE} SET {', '.join(parts)} WHERE {NAME} = :folded RETURNING *",  # noqa: S608
            **{field: _column(value) for field, value in changes.items()},
            folded=fold_username(username),
        )
        return to_person(rows[0]) if rows else None

    async def remove(self, username: str) -> bool:
        """Forget a person; False when there is none of that name."""
        rows = await self.database.run(
            f"DELETE FROM {TABLE} WHERE {NAME} = :folded RETURNING {NAME}",  # noqa: S608
            folded=fold_username(username),
        )
        return bool(rows)


async def add_missing(database: Database, people: Iterable[UserInDB]) -> None:
    """Store those people who are not there: at the start, where several workers may do it."""
    async with database.transaction(*alone_on(TABLE, database.dialect)):
        found = await database.run(f"SELECT {NAME} FROM {TABLE}")  # noqa: S608
        there = {row[NAME] for row in found}
        for row in map(to_row, people):
            if row[NAME] not in there:
                names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
                await database.run(f"INSERT INTO {TABLE} ({names}) VALUES ({values})", **row)  # noqa: S608


def to_row(person: UserInDB) -> dict[str, Value]:
    """Return a person as the columns of a row. Raises ValueError for an impossible name."""
    username = fold_username(person.username)
    if username is None:
        raise ValueError("not a username")
    note(whom=username)
    # The hash is in no dump.
    whole = person.model_dump() | {"hashed_password": person.hashed_password, "username": username}
    written = COLUMNS.keys() - ONLY_READ
    return {COLUMNS[field]: _column(whole[field]) for field in whole if field in written}


def to_person(row: Row) -> UserInDB:
    """Return the person of a row."""
    person = {field: row[column] for field, column in COLUMNS.items()}
    for field in ("disabled", "has_password"):
        person[field] = bool(person[field])
    # Code from before lesson 08 leaves it empty, and one empty text would be one account.
    person["account_id"] = person["account_id"] or f"of-{person['username']}"
    return UserInDB(**person | {"scopes": to_words(person["scopes"])})


def _column(value: Any) -> Value:
    if isinstance(value, list):
        return to_text(value)
    if isinstance(value, bool):
        return int(value)
    return None if value is None else str(value)
