"""API keys in a database."""

from ...support.seams import note
from ..api_keys import ApiKey
from .database import Database, Row
from .rows import Sweeper, to_moment, to_number, to_text, to_words


class SqlKeys:
    """A `KeyStore` in a database: one statement a method."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sweeper = Sweeper(
            "DELETE FROM api_keys WHERE digest IN"
            " (SELECT digest FROM api_keys WHERE expires_at < :long_ago LIMIT :most)"
        )

    async def add(self, key: ApiKey) -> None:
        """Keep a new key, and forget some of those that have expired."""
        for deletion, values in self._sweeper.due():
            await self.database.run(deletion, **values)
        # The database's own order: clocks of two workers differ.
        await self.database.run(
            "INSERT INTO api_keys"
            " (digest, id, number, prefix, name, owner, stamp, scopes, created_at, expires_at)"
            " VALUES (:digest, :id, (SELECT coalesce(max(number), 0) + 1 FROM api_keys),"
            " :prefix, :name, :owner, :stamp, :scopes, :created_at, :expires_at)",
            digest=key.digest,
            id=key.id,
            prefix=key.prefix,
            name=key.name,
            owner=key.owner,
            stamp=key.stamp,
            scopes=to_text(key.scopes),
            created_at=to_number(key.created_at),
            expires_at=to_number(key.expires_at),
        )
        note(whom=key.id)

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key of that digest, also an expired one, or None."""
        rows = await self.database.run(
            "SELECT * FROM api_keys WHERE digest = :digest", digest=digest
        )
        return _to_key(rows[0]) if rows else None

    async def owned_by(self, username: str) -> list[ApiKey]:
        """Return a person's keys, the oldest first."""
        rows = await self.database.run(
            "SELECT * FROM api_keys WHERE owner = :owner ORDER BY number, created_at",
            owner=username,
        )
        return [_to_key(row) for row in rows]

    async def revoke(self, username: str, key_id: str) -> bool:
        """Forget a person's key; False when that person has no such key."""
        rows = await self.database.run(
            "DELETE FROM api_keys WHERE owner = :owner AND id = :id RETURNING id",
            owner=username,
            id=key_id,
        )
        return bool(rows)


def _to_key(row: Row) -> ApiKey:
    return ApiKey(
        digest=row["digest"],
        id=row["id"],
        prefix=row["prefix"],
        name=row["name"],
        owner=row["owner"],
        stamp=row["stamp"],
        scopes=tuple(to_words(row["scopes"])),
        created_at=to_moment(row["created_at"]),
        expires_at=to_moment(row["expires_at"]),
    )
