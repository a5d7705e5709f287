"""Who somebody is at a provider, in a database."""

from ..identities import Identity, Released
from .database import Database, Row
from .locks import alone_on
from .rows import to_moment, to_number


class SqlIdentities:
    """An `IdentityStore` in a database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def find(self, issuer: str, subject: str) -> Identity | None:
        """Return the identity of that person at that provider, or None."""
        rows = await self.database.run(
            "SELECT * FROM identities WHERE issuer = :issuer AND subject = :subject",
            issuer=issuer,
            subject=subject,
        )
        return _to_identity(rows[0]) if rows else None

    async def claim(self, identity: Identity, instead_of: Identity | None = None) -> Identity:
        """Keep a new identity, and return the one that is kept."""
        async with self.database.transaction(*alone_on("identities", self.database.dialect)):
            kept = await self.find(identity.issuer, identity.subject)
            if kept is not None and kept != instead_of:
                return kept
            await self._forget(identity.issuer, identity.subject)
            await self.database.run(
                "INSERT INTO identities"
                " (issuer, subject, number, username, account_id, label, linked_at)"
                " VALUES (:issuer, :subject,"
                " (SELECT coalesce(max(number), 0) + 1 FROM identities),"
                " :username, :account_id, :label, :linked_at)",
                issuer=identity.issuer,
                subject=identity.subject,
                username=identity.username,
                account_id=identity.account_id,
                label=identity.label,
                linked_at=to_number(identity.linked_at),
            )
            return identity

    async def owned_by(self, account_id: str) -> list[Identity]:
        """Return the identities of an account, the oldest first."""
        rows = await self.database.run(
            "SELECT * FROM identities WHERE account_id = :account_id ORDER BY number, linked_at",
            account_id=account_id,
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
                await self._forget(each.issuer, each.subject)
            return "gone"

    async def _forget(self, issuer: str, subject: str) -> None:
        await self.database.run(
            "DELETE FROM identities WHERE issuer = :issuer AND subject = :subject",
            issuer=issuer,
            subject=subject,
        )


def _to_identity(row: Row) -> Identity:
    return Identity(
        issuer=row["issuer"],
        subject=row["subject"],
        username=row["username"],
        account_id=row["account_id"],
        label=row["label"],
        linked_at=to_moment(row["linked_at"]),
    )
