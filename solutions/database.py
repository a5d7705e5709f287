"""Lesson 12. A database and several workers: what has to be one step, in SQL."""

from contextlib import AbstractAsyncContextManager

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from . import api_keys, hashing, oauth2, rbac, refresh, sessions, social
from .hardening import harden
from .stores.chosen import Stores
from .stores.refresh_tokens import RefreshToken
from .stores.sql.api_keys import SqlKeys
from .stores.sql.database import Database
from .stores.sql.flows import SqlFlows
from .stores.sql.identities import SqlIdentities
from .stores.sql.opening import DEVELOPMENT_DATABASE
from .stores.sql.refresh_tokens import IS_REVOKED, SqlRefreshTokens, to_token
from .stores.sql.sessions import SqlSessions
from .stores.sql.users import SqlUsers, to_row
from .stores.users import UserInDB, fold_username
from .support.apps import create_app
from .support.opened_stores import from_settings
from .support.use_stores import use_stores

RETRY_AFTER_SECONDS = 5


class RefreshTokens(SqlRefreshTokens):
    """Refresh tokens in the database, as lesson 05 needs them."""

    async def consume(self, digest: str) -> RefreshToken | None:
        """Spend a live token and return it; None for an unknown, spent or revoked one.

        Looking and spending are one statement: of two workers one gets the row (CWE-367).
        """
        rows = await self.database.run(
            "UPDATE refresh_tokens SET spent = 1"  # noqa: S608
            f" WHERE digest = :digest AND spent = 0 AND NOT {IS_REVOKED} RETURNING *",
            digest=digest,
        )
        return to_token(rows[0], spent=False) if rows else None


class Users(SqlUsers):
    """People in the database, as lessons 01, 03 and 06 need them."""

    async def add(self, person: UserInDB) -> bool:
        """Store a new person; False when the name is taken.

        The key of the table decides, not a look before (CWE-367). Raises ValueError for a name that
        `fold_username` refuses.
        """
        row = to_row(person)
        columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        added = await self.database.run(
            f"INSERT INTO users ({columns}) VALUES ({values})"  # noqa: S608
            " ON CONFLICT (username) DO NOTHING RETURNING username",
            **row,
        )
        return bool(added)

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        """Store the same password's new hash, if `old` is still the stored one."""
        replaced = await self.database.run(
            "UPDATE users SET hashed_password = :new"
            " WHERE username = :username AND hashed_password = :old RETURNING username",
            username=fold_username(username),
            old=old,
            new=new,
        )
        return bool(replaced)

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Let nobody else write people until the block ends; an exception undoes what it wrote.

        Without the lock two workers each see another superadmin, and each takes one away.
        """
        begin = {
            "sqlite": ["BEGIN IMMEDIATE"],
            "postgresql": ["BEGIN", "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"],
        }
        return self.database.transaction(*begin[self.database.dialect])


async def answer_down(request: Request, error: Exception) -> Response:
    """Answer for a database that cannot be asked: 503, and when to come back.

    Never a yes, and nothing of what went wrong: it names hosts, and quotes values (CWE-636,
    CWE-209). `error` is for clients of OAuth, which take an answer without one for a token.
    """
    sentence = "Please try again soon"
    return JSONResponse(
        {"detail": sentence, "error": "temporarily_unavailable", "error_description": sentence},
        status_code=503,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS), "Cache-Control": "no-store"},
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
