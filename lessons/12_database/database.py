"""Lesson 12. A database and several workers: what has to be one step, in SQL."""

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
from solutions.stores.sql.refresh_tokens import IS_REVOKED, SqlRefreshTokens, to_token
from solutions.stores.sql.sessions import SqlSessions
from solutions.stores.sql.users import SqlUsers, to_row
from solutions.stores.users import UserInDB, fold_username
from solutions.support.apps import create_app
from solutions.support.opened_stores import from_settings
from solutions.support.use_stores import use_stores

RETRY_AFTER_SECONDS = 5


class RefreshTokens(SqlRefreshTokens):
    """Refresh tokens in the database, as lesson 05 needs them."""

    async def consume(self, digest: str) -> RefreshToken | None:
        """Spend a live token and return it; None for an unknown, spent or revoked one.

        Looking and spending are one statement: of two workers one gets the row (CWE-367).
        """
        raise NotImplementedError("TODO 1: spend a token in one step")


class Users(SqlUsers):
    """People in the database, as lessons 01, 03 and 06 need them."""

    async def add(self, person: UserInDB) -> bool:
        """Store a new person; False when the name is taken.

        The key of the table decides, not a look before (CWE-367). Raises ValueError for a name that
        `fold_username` refuses.
        """
        raise NotImplementedError("TODO 2: let the table decide whose name it is")

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        """Store the same password's new hash, if `old` is still the stored one."""
        raise NotImplementedError("TODO 3: compare and set in one step")

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Let nobody else write people until the block ends; an exception undoes what it wrote.

        Without the lock two workers each see another superadmin, and each takes one away.
        """
        raise NotImplementedError("TODO 4: let one at a time write people")


async def answer_down(request: Request, error: Exception) -> Response:
    """Answer for a database that cannot be asked: 503, and when to come back.

    Never a yes, and nothing of what went wrong: it names hosts, and quotes values (CWE-636,
    CWE-209). `error` is for clients of OAuth, which take an answer without one for a token.
    """
    raise NotImplementedError("TODO 5: answer for a database that is down")


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
