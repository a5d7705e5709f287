"""An advisory lock, taken inside of the block."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import Request, Response

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
        sql = (
            "UPDATE refresh_tokens SET spent = spent + 1 WHERE digest = :digest AND spent < 1"
            " AND NOT EXISTS (SELECT 1 FROM revoked_families AS r"
            " WHERE r.family = refresh_tokens.family)"
            " RETURNING digest, family, username, stamp, scopes, expires_at"
        )
        for row in await self.database.run(sql, digest=digest):
            return to_token(row, spent=False)
        return None


class Users(SqlUsers):
    """People."""

    async def add(self, person: UserInDB) -> bool:
        async with self.transaction():
            taken = await self.database.run(
                "SELECT count(*) AS n FROM users WHERE username = :name",
                name=to_row(person)["username"],
            )
            if taken[0]["n"]:
                return False
            row = to_row(person)
            columns = sorted(row)
            values = [f":{column}" for column in columns]
            await self.database.run(
                "INSERT INTO users (" + ", ".join(columns) + ") VALUES (" + ", ".join(values) + ")",
                **row,
            )
        return True

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        folded = fold_username(username)
        if folded is None:
            return False
        rows = await self.database.run(
            "UPDATE users SET hashed_password = CASE WHEN hashed_password = :old THEN :new"
            " ELSE hashed_password END WHERE username = :name AND hashed_password = :old"
            " RETURNING 1 AS done",
            name=folded,
            old=old,
            new=new,
        )
        return len(rows) == 1

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        if self.database.dialect == "sqlite":
            async with self.database.transaction("BEGIN EXCLUSIVE"):
                yield
            return
        async with self.database.transaction():
            await self.database.run("SELECT pg_advisory_xact_lock(:key)", key=PEOPLE)
            yield


async def answer_down(request: Request, error: Exception) -> Response:
    body = {"error": "temporarily_unavailable", "error_description": "Come back in a moment."}
    return Response(
        json.dumps(body),
        HTTPStatus.SERVICE_UNAVAILABLE,
        {"Retry-After": "1", "Cache-Control": "no-store", "Pragma": "no-cache"},
        "application/json",
    )


PEOPLE = 12_012


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
