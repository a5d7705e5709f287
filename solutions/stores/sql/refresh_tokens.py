"""Refresh tokens in a database. `consume` is in `database.py` of lesson 12."""

from ...support.seams import note
from ..refresh_tokens import Family, RefreshToken
from .database import Database, Row
from .rows import Sweeper, to_moment, to_number, to_text, to_words

IS_REVOKED = "family IN (SELECT family FROM revoked_families)"


class SqlRefreshTokens:
    """The part of a `RefreshStore` that is one statement a method, and nothing to think about.

    A token that is spent stays until its family is over: it has to be known when it comes back.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sweeper = Sweeper(
            "DELETE FROM refresh_tokens WHERE digest IN"
            " (SELECT digest FROM refresh_tokens WHERE expires_at < :long_ago LIMIT :most)",
            "DELETE FROM revoked_families WHERE family IN"
            " (SELECT family FROM revoked_families WHERE expires_at < :long_ago LIMIT :most)",
        )

    async def add(self, token: RefreshToken) -> None:
        """Keep a new token, and forget some of those that have expired."""
        for deletion, values in self._sweeper.due():
            await self.database.run(deletion, **values)
        family = token.family
        await self.database.run(
            "INSERT INTO refresh_tokens"
            " (digest, family, username, stamp, scopes, expires_at, spent)"
            " VALUES (:digest, :family, :username, :stamp, :scopes, :expires_at, :spent)",
            digest=token.digest,
            family=family.id,
            username=family.username,
            stamp=family.stamp,
            scopes=to_text(family.scopes),
            expires_at=to_number(family.expires_at),
            spent=int(token.spent),
        )

    async def find(self, digest: str) -> RefreshToken | None:
        """Return the token of that digest, or None. One that is spent or revoked has `spent`."""
        rows = await self.database.run(
            f"SELECT *, (spent = 1 OR {IS_REVOKED}) AS is_dead"  # noqa: S608
            " FROM refresh_tokens WHERE digest = :digest",
            digest=digest,
        )
        return to_token(rows[0], spent=bool(rows[0]["is_dead"])) if rows else None

    async def revoke(self, family: Family) -> None:
        """Make every token of a family dead, also those still to come."""
        note(whom=family.username, revoked="yes")
        await self.database.run(
            "INSERT INTO revoked_families (family, expires_at) VALUES (:family, :expires_at)"
            " ON CONFLICT (family) DO NOTHING",
            family=family.id,
            expires_at=to_number(family.expires_at),
        )


def to_token(row: Row, spent: bool) -> RefreshToken:
    """Return the token of a row. The audit log learns whose it is."""
    note(whom=row["username"])
    family = Family(
        id=row["family"],
        username=row["username"],
        stamp=row["stamp"],
        scopes=tuple(to_words(row["scopes"])),
        expires_at=to_moment(row["expires_at"]),
    )
    return RefreshToken(row["digest"], family, spent)
