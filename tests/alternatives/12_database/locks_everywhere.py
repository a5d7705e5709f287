"""A lock, a look, a write: for all four, by the lock that migrations take."""

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
from solutions.stores.sql.locks import alone_on
from solutions.stores.sql.opening import DEVELOPMENT_DATABASE
from solutions.stores.sql.refresh_tokens import SqlRefreshTokens
from solutions.stores.sql.sessions import SqlSessions
from solutions.stores.sql.users import SqlUsers, to_row
from solutions.stores.users import UserInDB
from solutions.support.apps import create_app
from solutions.support.opened_stores import from_settings
from solutions.support.use_stores import use_stores


class RefreshTokens(SqlRefreshTokens):
    """Refresh tokens."""

    async def consume(self, digest: str) -> RefreshToken | None:
        async with self.database.transaction(*alone_on("refresh_tokens", self.database.dialect)):
            token = await self.find(digest)
            if token is None or token.spent:
                return None
            await self.database.run(
                "UPDATE refresh_tokens SET spent = 1 WHERE digest = :digest", digest=digest
            )
            return token


class Users(SqlUsers):
    """People."""

    async def add(self, person: UserInDB) -> bool:
        row = to_row(person)
        async with self.transaction():
            if await self.get(person.username):
                return False
            names, values = ",".join(row), ",".join(f":{name}" for name in row)
            await self.database.run(
                f"INSERT INTO users ({names}) VALUES ({values})",
                **row,
            )
            return True

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        async with self.transaction():
            person = await self.get(username)
            if person is None or person.hashed_password != old:
                return False
            stamp = person.security_stamp
            has = person.has_password
            await self.change(username, hashed_password=new, security_stamp=stamp, has_password=has)
            return True

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self.database.transaction(*alone_on("users", self.database.dialect))


async def answer_down(request: Request, error: Exception) -> Response:
    response = JSONResponse({"error": "server_error"}, 503)
    response.headers["retry-after"] = "30"
    response.headers["cache-control"] = "private, no-store"
    return response


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
