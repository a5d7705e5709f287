"""Row locks, a block that is a class, and an upsert that changes nothing."""

from dataclasses import replace
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from solutions import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from solutions.hardening import harden
from solutions.stores.chosen import Stores
from solutions.stores.refresh_tokens import RefreshToken
from solutions.stores.sql.api_keys import SqlKeys
from solutions.stores.sql.database import Database
from solutions.stores.sql.flows import SqlFlows
from solutions.stores.sql.identities import SqlIdentities
from solutions.stores.sql.opening import DEVELOPMENT_DATABASE
from solutions.stores.sql.refresh_tokens import SqlRefreshTokens, to_token
from solutions.stores.sql.sessions import SqlSessions
from solutions.stores.sql.users import SqlUsers, to_row
from solutions.stores.users import UserInDB, fold_username
from solutions.support.apps import create_app
from solutions.support.opened_stores import from_settings
from solutions.support.use_stores import use_stores


class RefreshTokens(SqlRefreshTokens):
    """Refresh tokens."""

    async def consume(self, digest: str) -> RefreshToken | None:
        lock = " FOR UPDATE" if self.database.dialect == "postgresql" else ""
        begin = ("BEGIN IMMEDIATE",) if self.database.dialect == "sqlite" else ()
        async with self.database.transaction(*begin):
            rows = await self.database.run(
                f"SELECT * FROM refresh_tokens WHERE digest = :digest{lock}", digest=digest
            )
            if not rows or rows[0]["spent"]:
                return None
            gone = await self.database.run(
                "SELECT family FROM revoked_families WHERE family = :f", f=rows[0]["family"]
            )
            if gone:
                return None
            await self.database.run(
                "UPDATE refresh_tokens SET spent = 1 WHERE digest = :digest AND spent = 0",
                digest=digest,
            )
        return replace(to_token(rows[0], spent=True), spent=False)


class Users(SqlUsers):
    """People."""

    async def add(self, person: UserInDB) -> bool:
        if fold_username(person.username) is None:
            raise ValueError(f"no name: {person.username!r}")
        row = to_row(person)
        before = await self.database.run(
            f"INSERT INTO users ({', '.join(row)}) VALUES ({', '.join(map(':{}'.format, row))})"
            " ON CONFLICT (username) DO UPDATE SET username = excluded.username WHERE 1 = 0"
            " RETURNING account_id",
            **row,
        )
        return [each["account_id"] for each in before] == [person.account_id]

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        async with self.transaction():
            return await self._replace(username, old, new)

    async def _replace(self, username: str, old: str, new: str) -> bool:
        person = await self.get(username)
        if person and person.hashed_password == old:
            await self.database.run(
                "UPDATE users SET hashed_password = :new WHERE username = :name",
                new=new,
                name=person.username,
            )
            return True
        return False

    def transaction(self) -> "Block":
        return Block(self.database)


class Block:
    """A block as a class."""

    def __init__(self, database: Database) -> None:
        locked = ["BEGIN", "LOCK users IN SHARE ROW EXCLUSIVE MODE"]
        begin = {"sqlite": ["BEGIN IMMEDIATE"], "postgresql": locked}[database.dialect]
        self._block = database.transaction(*begin)

    async def __aenter__(self) -> None:
        await self._block.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._block.__aexit__(*error)


async def answer_down(request: Request, error: Exception) -> Response:
    class Body(BaseModel):
        error: str = "temporarily_unavailable"
        error_description: str = "The service is back soon"

    return JSONResponse(
        Body().model_dump(), 503, {"retry-after": "20", "cache-control": "no-store"}
    )


def stores_on(database: Database) -> Stores:
    """Return all stores of lessons 01 to 11 on a database."""
    return Stores(
        users=Users(database),
        refresh_tokens=RefreshTokens(database),
        keys=SqlKeys(database),
        sessions=SqlSessions(database),
        flows=SqlFlows(database),
        identities=SqlIdentities(database),
    )


routers = (hashing, oauth2, refresh, rbac, api_keys, sessions, social)
app = harden(create_app("Lesson 12: database", *(each.router for each in routers)))
use_stores(app, from_settings(stores_on, in_development=DEVELOPMENT_DATABASE), answer_down)
