"""Refresh tokens at rest: by digest, in families, spent once.

Routes reach their store through `get_refresh_store` only.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Protocol, Self

from fastapi import Depends

from ..support.seams import note
from ..support.settings import get_settings
from .chosen import chosen_stores
from .one_at_a_time import OneAtATime
from .users import User

SWEEP = timedelta(minutes=1)  # between two searches for what has expired


@dataclass(frozen=True)
class Family:
    """All refresh tokens that descend from one login."""

    id: str
    username: str
    stamp: str = field(repr=False)  # the account's security stamp at the login
    scopes: tuple[str, ...]
    expires_at: datetime  # of every token in it: rotation does not move the end

    @classmethod
    def begin(cls, user: User, scopes: Iterable[str]) -> Self:
        """Return the family of a new login. It ends REFRESH_TOKEN_EXPIRE_DAYS from now."""
        lifetime = timedelta(days=get_settings().refresh_token_expire_days)
        return cls(
            id=uuid.uuid4().hex,
            username=user.username,
            stamp=user.security_stamp,
            scopes=tuple(scopes),
            expires_at=datetime.now(UTC) + lifetime,
        )


@dataclass(frozen=True)
class RefreshToken:
    """One refresh token as it is kept: its digest, never itself."""

    digest: str = field(repr=False)
    family: Family
    spent: bool = False


class RefreshStore(Protocol):
    """Refresh tokens by digest. Each method is one step: no other request comes in between."""

    async def add(self, token: RefreshToken) -> None:
        """Keep a new token. In a revoked family it is born dead."""

    async def find(self, digest: str) -> RefreshToken | None:
        """Return the token of that digest, or None. One that is spent or revoked has `spent` set.

        What it says may have changed by the time you read it: to act on a token, `consume` it.
        """

    async def consume(self, digest: str) -> RefreshToken | None:
        """Spend a live token and return it; None for an unknown, spent or revoked one.

        However many ask at once, one gets the token.
        """

    async def revoke(self, family: Family) -> None:
        """Make every token of a family dead, also those still to come."""


class MemoryRefreshStore:
    """A `RefreshStore` in memory. It loses everything at a restart."""

    def __init__(self) -> None:
        self._one = OneAtATime()
        self._tokens: dict[str, RefreshToken] = {}
        self._revoked: dict[str, datetime] = {}  # family ids, and when they expire anyway
        self._next_sweep = datetime.now(UTC) + SWEEP

    async def add(self, token: RefreshToken) -> None:
        """Keep a new token, and forget those that have expired."""
        async with self._one.enter():
            self._sweep(datetime.now(UTC))
            self._tokens[token.digest] = token

    async def find(self, digest: str) -> RefreshToken | None:
        """Return the token of that digest, or None."""
        async with self._one.enter():
            token = self._tokens.get(digest)
            return replace(token, spent=self._is_dead(token)) if token else None

    async def consume(self, digest: str) -> RefreshToken | None:
        """Spend a live token and return it; None for an unknown, spent or revoked one."""
        async with self._one.enter():
            token = self._tokens.get(digest)
            if token is None or self._is_dead(token):
                return None
            self._tokens[digest] = replace(token, spent=True)
        note(whom=token.family.username)
        return token

    async def revoke(self, family: Family) -> None:
        """Make every token of a family dead, also those still to come."""
        note(whom=family.username, revoked="yes")
        async with self._one.enter():
            self._revoked[family.id] = family.expires_at

    def _is_dead(self, token: RefreshToken) -> bool:
        return token.spent or token.family.id in self._revoked

    def _sweep(self, now: datetime) -> None:
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP
        self._tokens = {
            digest: token for digest, token in self._tokens.items() if token.family.expires_at > now
        }
        self._revoked = {name: end for name, end in self._revoked.items() if end > now}


@lru_cache
def open_refresh_store() -> MemoryRefreshStore:
    """Build the process's one store."""
    return MemoryRefreshStore()


async def get_refresh_store() -> RefreshStore:
    """Hand the store to a route. `async`, as `get_users` is, and for the same reasons."""
    stores = chosen_stores.get()
    return stores.refresh_tokens if stores else open_refresh_store()


RefreshTokens = Annotated[RefreshStore, Depends(get_refresh_store)]
