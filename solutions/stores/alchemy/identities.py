"""Who somebody is at a provider, in a database, by SQLAlchemy."""

from sqlalchemy import delete, insert, select

from ..identities import Identity, Released
from ..sql.locks import alone_on
from .engine import AlchemyDatabase
from .models import IdentityRow
from .statements import next_number


class AlchemyIdentities:
    """An `IdentityStore` in a database."""

    def __init__(self, database: AlchemyDatabase) -> None:
        self.database = database

    async def find(self, issuer: str, subject: str) -> Identity | None:
        """Return the identity of that person at that provider, or None."""
        row = await self.database.first(
            select(IdentityRow).where(IdentityRow.issuer == issuer, IdentityRow.subject == subject)
        )
        return _to_identity(row) if row else None

    async def claim(self, identity: Identity, instead_of: Identity | None = None) -> Identity:
        """Keep a new identity, and return the one that is kept."""
        async with self.database.transaction(*alone_on("identities", self.database.dialect)):
            kept = await self.find(identity.issuer, identity.subject)
            if kept is not None and kept != instead_of:
                return kept
            await self._forget(identity)
            await self.database.do(
                insert(IdentityRow).values(
                    issuer=identity.issuer,
                    subject=identity.subject,
                    number=next_number(IdentityRow),
                    username=identity.username,
                    account_id=identity.account_id,
                    label=identity.label,
                    linked_at=identity.linked_at,
                )
            )
            return identity

    async def owned_by(self, account_id: str) -> list[Identity]:
        """Return the identities of an account, the oldest first."""
        rows = await self.database.all(
            select(IdentityRow)
            .where(IdentityRow.account_id == account_id)
            .order_by(IdentityRow.number, IdentityRow.linked_at)
        )
        return [_to_identity(row) for row in rows]

    async def release(self, account_id: str, issuer: str, may_be_last: bool) -> Released:
        """Forget an account's identities at a provider, unless no way in would be left."""
        async with self.database.transaction(*alone_on("identities", self.database.dialect)):
            mine = await self.owned_by(account_id)
            leaving = [each for each in mine if each.issuer == issuer]
            if not leaving:
                return "none"
            if len(leaving) == len(mine) and not may_be_last:
                return "last"
            for each in leaving:
                await self._forget(each)
            return "gone"

    async def _forget(self, identity: Identity) -> None:
        await self.database.do(
            delete(IdentityRow).where(
                IdentityRow.issuer == identity.issuer, IdentityRow.subject == identity.subject
            )
        )


def _to_identity(row: IdentityRow) -> Identity:
    return Identity(
        issuer=row.issuer,
        subject=row.subject,
        username=row.username,
        account_id=row.account_id,
        label=row.label,
        linked_at=row.linked_at,
    )
