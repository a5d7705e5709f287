"""A look first, for speed; what counts is the compare and set behind it."""

from contextlib import AbstractAsyncContextManager

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
from solutions.stores.sql.refresh_tokens import IS_REVOKED, SqlRefreshTokens
from solutions.stores.sql.sessions import SqlSessions
from solutions.stores.sql.users import SqlUsers, to_row
from solutions.stores.users import UserInDB
from solutions.support.apps import create_app
from solutions.support.opened_stores import from_settings
from solutions.support.use_stores import use_stores


class RefreshTokens(SqlRefreshTokens):
    """Refresh tokens."""

    async def consume(self, digest: str) -> RefreshToken | None:
        """Two statements; the second one is compare and set."""
        token = await self.find(digest)
        if token is None or token.spent:
            return None
        won = await self.database.run(
            "UPDATE refresh_tokens SET spent = 1 WHERE digest = :d AND spent <> 1"
            f" AND NOT {IS_REVOKED} RETURNING digest",
            d=digest,
        )
        return token if won else None


class Users(SqlUsers):
    """People."""

    async def add(self, person: UserInDB) -> bool:
        if await self.get(person.username) is not None:
            return False
        row = to_row(person)
        done = await self.database.run(
            f"INSERT INTO users ({', '.join(row)})"
            f" SELECT {', '.join(':' + each for each in row)} WHERE 1 = 1"
            " ON CONFLICT (username) DO NOTHING RETURNING account_id",
            **row,
        )
        return done != []

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        person = await self.get(username)
        if person is None or person.hashed_password != old:
            return False
        return any(
            await self.database.run(
                "UPDATE users SET hashed_password = :new"
                " WHERE username = :u AND hashed_password = :old RETURNING username",
                u=person.username,
                old=old,
                new=new,
            )
        )

    def transaction(self) -> AbstractAsyncContextManager[None]:
        match self.database.dialect:
            case "sqlite":
                return self.database.transaction("begin immediate transaction")
            case _:
                return self.database.transaction(
                    "begin", "lock table users in access exclusive mode"
                )


async def answer_down(request: Request, error: Exception) -> Response:
    answer = {"error": "temporarily_unavailable", "error_uri": "https://status.shop.example"}
    return JSONResponse(answer, 503, {"Retry-After": "99", "Cache-Control": "no-store"})


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
