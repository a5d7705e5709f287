"""Refresh tokens in a database, by SQLAlchemy."""

from sqlalchemy import insert, or_, select, update

from ...support.seams import note
from ..refresh_tokens import Family, RefreshToken
from .engine import AlchemyDatabase
from .models import RefreshTokenRow, RevokedFamilyRow
from .statements import Sweeper, insert_into

IS_REVOKED = RefreshTokenRow.family.in_(select(RevokedFamilyRow.family))


class AlchemyRefreshTokens:
    """A `RefreshStore` in a database.

    A token that is spent stays until its family is over: it has to be known when it comes back.
    """

    def __init__(self, database: AlchemyDatabase) -> None:
        self.database = database
        self._sweeper = Sweeper(RefreshTokenRow.digest, RevokedFamilyRow.family)

    async def add(self, token: RefreshToken) -> None:
        """Keep a new token, and forget some of those that have expired."""
        for deletion in self._sweeper.due():
            await self.database.do(deletion)
        family = token.family
        await self.database.do(
            insert(RefreshTokenRow).values(
                digest=token.digest,
                family=family.id,
                username=family.username,
                stamp=family.stamp,
                scopes=family.scopes,
                expires_at=family.expires_at,
                spent=int(token.spent),
            )
        )

    async def find(self, digest: str) -> RefreshToken | None:
        """Return the token of that digest, or None. One that is spent or revoked has `spent`."""
        rows = await self.database.rows(
            select(RefreshTokenRow, or_(RefreshTokenRow.spent == 1, IS_REVOKED)).where(
                RefreshTokenRow.digest == digest
            )
        )
        return _to_token(rows[0][0], spent=bool(rows[0][1])) if rows else None

    async def consume(self, digest: str) -> RefreshToken | None:
        """Spend a live token and return it; None for an unknown, spent or revoked one.

        Not an object that is read, changed and flushed: two workers would both have read it.
        """
        row = await self.database.first(
            update(RefreshTokenRow)
            .where(RefreshTokenRow.digest == digest, RefreshTokenRow.spent == 0, ~IS_REVOKED)
            .values(spent=1)
            .returning(RefreshTokenRow)
        )
        if row is None:
            return None
        note(whom=row.username)
        return _to_token(row, spent=False)

    async def revoke(self, family: Family) -> None:
        """Make every token of a family dead, also those still to come."""
        note(whom=family.username, revoked="yes")
        await self.database.do(
            insert_into(RevokedFamilyRow, self.database.dialect)
            .values(family=family.id, expires_at=family.expires_at)
            .on_conflict_do_nothing(index_elements=[RevokedFamilyRow.family])
        )


def _to_token(row: RefreshTokenRow, spent: bool) -> RefreshToken:
    family = Family(
        id=row.family,
        username=row.username,
        stamp=row.stamp,
        scopes=row.scopes,
        expires_at=row.expires_at,
    )
    return RefreshToken(row.digest, family, spent)
