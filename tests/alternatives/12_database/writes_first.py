"""The write comes first, and the look after it: nobody can come between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request, Response
from fastapi.responses import JSONResponse

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
        async with self.database.transaction():
            spent = await self.database.run(
                "UPDATE refresh_tokens SET spent = 1 WHERE digest = :digest AND spent = 0"
                " RETURNING *",
                digest=digest,
            )
            revoked = spent and await self.database.run(
                "SELECT 1 FROM revoked_families WHERE family = :family", family=spent[0]["family"]
            )
        return None if revoked or not spent else to_token(spent[0], spent=False)


class Users(SqlUsers):
    """People."""

    async def add(self, person: UserInDB) -> bool:
        row = to_row(person)
        async with self.database.transaction():
            mine = await self.database.run(
                "INSERT INTO users (username, role, scopes, security_stamp, hashed_password)"
                " VALUES (:username, :role, :scopes, :security_stamp, :hashed_password)"
                " ON CONFLICT DO NOTHING RETURNING username",
                **{name: row[name] for name in FIRST},
            )
            if not mine:
                return False
            await self.database.run(
                "UPDATE users SET email = :email, full_name = :full_name, disabled = :disabled,"
                " account_id = :account_id, has_password = :has_password"
                " WHERE username = :username",
                **{name: row[name] for name in row if name not in FIRST or name == "username"},
            )
        return True

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        rows = await self.database.run(
            "UPDATE users SET hashed_password = :new WHERE hashed_password = :old"
            " AND username = :username RETURNING hashed_password",
            username=fold_username(username) or "",
            old=old,
            new=new,
        )
        return [row["hashed_password"] for row in rows] == [new]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Write first: on both databases that makes others wait."""
        async with self.database.transaction():
            if self.database.dialect == "sqlite":
                await self.database.run("UPDATE users SET role = role WHERE username = ''")
            else:
                await self.database.run("SELECT username FROM users ORDER BY username FOR UPDATE")
            yield


async def answer_down(request: Request, error: Exception) -> Response:
    return JSONResponse(
        status_code=503,
        content={"error": "temporarily_unavailable"},
        headers={"Cache-Control": "no-store, max-age=0", "Retry-After": "10"},
    )


FIRST = ("username", "role", "scopes", "security_stamp", "hashed_password")


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
