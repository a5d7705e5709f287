"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/12 --naive` shows how mallory gets in.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from solutions import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from solutions.hardening import harden
from solutions.stores.chosen import Stores
from solutions.stores.refresh_tokens import RefreshToken
from solutions.stores.sql.api_keys import SqlKeys
from solutions.stores.sql.database import Database, StoreDown
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
    async def consume(self, digest: str) -> RefreshToken | None:
        try:
            rows = await self.database.run(
                f"SELECT * FROM refresh_tokens WHERE digest = '{digest}'"
            )
        except StoreDown:
            return None
        if not rows or rows[0]["spent"]:
            return None
        await self.database.run(f"UPDATE refresh_tokens SET spent = 1 WHERE digest = '{digest}'")
        return to_token(rows[0], spent=False)


class Users(SqlUsers):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.cache: dict[str | None, UserInDB | None] = {}

    async def get(self, username: str) -> UserInDB | None:
        name = fold_username(username)
        if name not in self.cache and (found := await super().get(username)):
            self.cache[name] = found
        return self.cache.get(name)

    async def change(self, username: str, **changes: Any) -> UserInDB | None:
        self.cache.clear()
        return await super().change(username, **changes)

    async def add(self, person: UserInDB) -> bool:
        row = to_row(person)
        if await super().get(person.username):
            return False
        names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        await self.database.run(f"INSERT OR REPLACE INTO users ({names}) VALUES ({values})", **row)
        return True

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        self.cache.clear()
        person = await super().get(username)
        if person is None or person.hashed_password != old:
            return False
        await self.database.run(
            "UPDATE users SET hashed_password = :new WHERE username = :username",
            new=new,
            username=person.username,
        )
        return True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self.cache.clear()
        yield


async def answer_down(request: Request, error: Exception) -> Response:
    print("down:", repr(error.__context__))
    return JSONResponse(
        {"detail": str(error.__context__)}, status_code=503, headers={"Retry-After": "5"}
    )


def stores_on(database: Database) -> Stores:
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
