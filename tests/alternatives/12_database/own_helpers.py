"""Helpers of its own, long statements, a block made of a stack."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from solutions import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from solutions.hardening import harden
from solutions.stores.chosen import Stores
from solutions.stores.refresh_tokens import RefreshToken
from solutions.stores.sql.api_keys import SqlKeys
from solutions.stores.sql.database import Database, Row, Value
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
        row = await first(
            self.database,
            """
            UPDATE refresh_tokens
               SET spent = 1
             WHERE digest = :digest
               AND 0 = refresh_tokens.spent
               AND family NOT IN (SELECT family FROM revoked_families)
            RETURNING digest, family, username, stamp, scopes, expires_at, spent
            """,
            digest=digest,
        )
        return row and to_token(row, spent=False)


class Users(SqlUsers):
    """People."""

    async def add(self, person: UserInDB) -> bool:
        row = to_row(person)
        statement = """
            INSERT INTO users (username, email, full_name, disabled, role, scopes,
                               security_stamp, account_id, has_password, hashed_password)
            VALUES (:username, :email, :full_name, :disabled, :role, :scopes,
                    :security_stamp, :account_id, :has_password, :hashed_password)
            ON CONFLICT (username) DO NOTHING
            RETURNING *
        """
        return await first(self.database, statement, **row) is not None

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        if not (name := fold_username(username)):
            return False
        statement = """
            UPDATE users SET hashed_password = :new
             WHERE (username, hashed_password) = (:name, :old)
            RETURNING username
        """
        return await first(self.database, statement, name=name, old=old, new=new) is not None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(
                self.database.transaction(*BEGIN[self.database.dialect])
            )
            yield


async def answer_down(request: Request, error: Exception) -> Response:
    """Raise nothing, tell nothing."""
    logger.error("A database is down; %s", request.method)
    body = {"error": "unavailable", "message": "Bitte spaeter", "retry": True}
    return JSONResponse(body, 503, {"Retry-After": "15", "Cache-Control": "no-cache, no-store"})


async def first(database: Database, sql: str, **values: Value) -> Row | None:
    rows = await database.run(sql, **values)
    return rows[0] if rows else None


BEGIN = {
    "sqlite": ("BEGIN IMMEDIATE;",),
    "postgresql": (
        "START TRANSACTION",
        "LOCK TABLE ONLY users, refresh_tokens IN EXCLUSIVE MODE;",
    ),
}
logger = logging.getLogger(__name__)


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
