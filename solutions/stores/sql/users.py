"""People in a database. What must be one step is in `database.py` of lesson 12."""

from collections.abc import Iterable
from typing import Any

from ...support.seams import note
from ..users import UserInDB, complete, fold_username, new_security_stamp
from .database import Database, Row, Value
from .locks import alone_on
from .rows import to_text, to_words


class SqlUsers:
    """The part of a `UserStore` that is one statement a method, and nothing to think about."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def get(self, username: str) -> UserInDB | None:
        """Return the person of that name in any spelling, or None."""
        rows = await self.database.run(
            "SELECT * FROM users WHERE username = :username", username=fold_username(username)
        )
        return to_person(rows[0]) if rows else None

    async def everyone(self) -> list[UserInDB]:
        """Return all people."""
        rows = await self.database.run("SELECT * FROM users ORDER BY username")
        return [to_person(row) for row in rows]

    async def change(self, username: str, **changes: Any) -> UserInDB | None:
        """Change fields of a person and return the result; None when there is no such person."""
        fields = _fields(complete(changes))
        # The names are those of the model, looked at by `complete`; the values never get here.
        parts = [f"{name} = :{name}" for name in fields]
        if fields.get("disabled") == 0 and "security_stamp" not in fields:
            parts.append("security_stamp = CASE disabled WHEN 1 THEN :anew ELSE security_stamp END")
            fields["anew"] = new_security_stamp()
        rows = await self.database.run(
            f"UPDATE users SET {', '.join(parts)} WHERE username = :folded RETURNING *"  # noqa: S608
            if parts
            else "SELECT * FROM users WHERE username = :folded",
            **fields,
            folded=fold_username(username),
        )
        return to_person(rows[0]) if rows else None

    async def remove(self, username: str) -> bool:
        """Forget a person; False when there is none of that name."""
        rows = await self.database.run(
            "DELETE FROM users WHERE username = :username RETURNING username",
            username=fold_username(username),
        )
        return bool(rows)


async def add_missing(database: Database, people: Iterable[UserInDB]) -> None:
    """Store those people who are not there: at the start, where several workers may do it."""
    async with database.transaction(*alone_on("users", database.dialect)):
        there = {row["username"] for row in await database.run("SELECT username FROM users")}
        for row in map(to_row, people):
            if row["username"] not in there:
                names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
                await database.run(f"INSERT INTO users ({names}) VALUES ({values})", **row)  # noqa: S608


def to_row(person: UserInDB) -> dict[str, Value]:
    """Return a person as the columns of a row. Raises ValueError for an impossible name."""
    username = fold_username(person.username)
    if username is None:
        raise ValueError("not a username")
    note(whom=username)
    whole = person.model_dump() | {"hashed_password": person.hashed_password}
    return _fields(whole | {"username": username})


def to_person(row: Row) -> UserInDB:
    """Return the person of a row."""
    return UserInDB(
        username=row["username"],
        email=row["email"],
        full_name=row["full_name"],
        disabled=bool(row["disabled"]),
        role=row["role"],
        scopes=to_words(row["scopes"]),
        security_stamp=row["security_stamp"],
        # Code from before lesson 08 leaves it empty, and one empty text would be one account.
        account_id=row["account_id"] or f"of-{row['username']}",
        has_password=bool(row["has_password"]),
        hashed_password=row["hashed_password"],
    )


def _fields(values: dict[str, Any]) -> dict[str, Value]:
    return {name: _column(values[name]) for name in values}


def _column(value: Any) -> Value:
    if isinstance(value, list):
        return to_text(value)
    if isinstance(value, bool):
        return int(value)
    return None if value is None else str(value)
