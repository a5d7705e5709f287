"""API keys in a database, by SQLAlchemy."""

from sqlalchemy import delete, insert, select

from ...support.seams import note
from ..api_keys import ApiKey
from .engine import AlchemyDatabase
from .models import ApiKeyRow
from .statements import Sweeper, next_number


class AlchemyKeys:
    """A `KeyStore` in a database: one statement a method."""

    def __init__(self, database: AlchemyDatabase) -> None:
        self.database = database
        self._sweeper = Sweeper(ApiKeyRow.digest)

    async def add(self, key: ApiKey) -> None:
        """Keep a new key, and forget some of those that have expired."""
        for deletion in self._sweeper.due():
            await self.database.do(deletion)
        await self.database.do(
            insert(ApiKeyRow).values(
                digest=key.digest,
                id=key.id,
                number=next_number(ApiKeyRow),
                prefix=key.prefix,
                name=key.name,
                owner=key.owner,
                stamp=key.stamp,
                scopes=key.scopes,
                created_at=key.created_at,
                expires_at=key.expires_at,
            )
        )
        note(whom=key.id)

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key of that digest, also an expired one, or None."""
        row = await self.database.first(select(ApiKeyRow).where(ApiKeyRow.digest == digest))
        return _to_key(row) if row else None

    async def owned_by(self, username: str) -> list[ApiKey]:
        """Return a person's keys, the oldest first."""
        rows = await self.database.all(
            select(ApiKeyRow)
            .where(ApiKeyRow.owner == username)
            .order_by(ApiKeyRow.number, ApiKeyRow.created_at)
        )
        return [_to_key(row) for row in rows]

    async def revoke(self, username: str, key_id: str) -> bool:
        """Forget a person's key; False when that person has no such key."""
        revoked = await self.database.first(
            delete(ApiKeyRow)
            .where(ApiKeyRow.owner == username, ApiKeyRow.id == key_id)
            .returning(ApiKeyRow.id)
        )
        return revoked is not None


def _to_key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        digest=row.digest,
        id=row.id,
        prefix=row.prefix,
        name=row.name,
        owner=row.owner,
        stamp=row.stamp,
        scopes=row.scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
