"""API keys at rest: by digest, each with an owner and an end.

Routes reach their store through `get_key_store` only.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Protocol

from fastapi import Depends

from ..support.seams import note
from .chosen import chosen_stores
from .one_at_a_time import OneAtATime

SWEEP = timedelta(minutes=1)  # between two searches for what has expired


@dataclass(frozen=True)
class ApiKey:
    """One API key as it is kept: its digest, never itself."""

    digest: str = field(repr=False)
    id: str
    prefix: str  # the key's first characters, by which its owner knows it
    name: str
    owner: str
    stamp: str = field(repr=False)  # the owner's security stamp when the key was made
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime


class KeyStore(Protocol):
    """API keys by digest. Each method is one step: no other request comes in between."""

    async def add(self, key: ApiKey) -> None:
        """Keep a new key."""

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key of that digest, also an expired one, or None."""

    async def owned_by(self, username: str) -> list[ApiKey]:
        """Return a person's keys, the oldest first."""

    async def revoke(self, username: str, key_id: str) -> bool:
        """Forget a person's key; False when that person has no such key."""


class MemoryKeyStore:
    """A `KeyStore` in memory. It loses everything at a restart."""

    def __init__(self) -> None:
        self._one = OneAtATime()
        self._keys: dict[str, ApiKey] = {}
        self._next_sweep = datetime.now(UTC) + SWEEP

    async def add(self, key: ApiKey) -> None:
        """Keep a new key, and forget those that have expired."""
        async with self._one.enter():
            self._sweep(datetime.now(UTC))
            self._keys[key.digest] = key
        note(whom=key.id)

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key of that digest, also an expired one, or None."""
        async with self._one.enter():
            return self._keys.get(digest)

    async def owned_by(self, username: str) -> list[ApiKey]:
        """Return a person's keys, the oldest first."""
        async with self._one.enter():
            return [key for key in self._keys.values() if key.owner == username]

    async def revoke(self, username: str, key_id: str) -> bool:
        """Forget a person's key; False when that person has no such key."""
        async with self._one.enter():
            for key in self._keys.values():
                if (key.owner, key.id) == (username, key_id):
                    del self._keys[key.digest]
                    return True
            return False

    def _sweep(self, now: datetime) -> None:
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP
        self._keys = {digest: key for digest, key in self._keys.items() if key.expires_at > now}


@lru_cache
def open_key_store() -> MemoryKeyStore:
    """Build the process's one store."""
    return MemoryKeyStore()


async def get_key_store() -> KeyStore:
    """Hand the store to a route. `async`, as `get_users` is, and for the same reasons."""
    stores = chosen_stores.get()
    return stores.keys if stores else open_key_store()


Keys = Annotated[KeyStore, Depends(get_key_store)]
