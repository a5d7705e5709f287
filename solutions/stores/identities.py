"""Who somebody is at a provider, and whose account that opens.

Routes reach their store through `get_identity_store` only.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal, Protocol

from fastapi import Depends

from .chosen import chosen_stores
from .one_at_a_time import OneAtATime

Released = Literal["gone", "none", "last"]


@dataclass(frozen=True)
class Identity:
    """A person at a provider, tied to an account.

    `issuer` and `subject` together are the person (OpenID Connect Core section 5.7). An address or
    a name may be somebody else's tomorrow.
    """

    issuer: str
    subject: str
    username: str
    account_id: str  # a later account of the same name is somebody else's
    label: str  # what its owner knows it by, for a list; opens nothing
    linked_at: datetime


class IdentityStore(Protocol):
    """Identities by issuer and subject. Each method is one step: nobody comes in between."""

    async def find(self, issuer: str, subject: str) -> Identity | None:
        """Return the identity of that person at that provider, or None."""

    async def claim(self, identity: Identity, instead_of: Identity | None = None) -> Identity:
        """Keep a new identity, and return the one that is kept.

        One that is there already stays and is returned, unless it is `instead_of`. So of two claims
        at once one wins (CWE-367).
        """

    async def owned_by(self, account_id: str) -> list[Identity]:
        """Return the identities of an account, the oldest first."""

    async def release(self, account_id: str, issuer: str, may_be_last: bool) -> Released:
        """Forget an account's identities at a provider: "gone", or "none" when there is none.

        "last" when no other would be left and that must not be: nothing is forgotten then.
        """


class MemoryIdentityStore:
    """An `IdentityStore` in memory. It loses everything at a restart."""

    def __init__(self) -> None:
        self._one = OneAtATime()
        self._identities: dict[tuple[str, str], Identity] = {}

    async def find(self, issuer: str, subject: str) -> Identity | None:
        """Return the identity of that person at that provider, or None."""
        async with self._one.enter():
            return self._identities.get((issuer, subject))

    async def claim(self, identity: Identity, instead_of: Identity | None = None) -> Identity:
        """Keep a new identity, and return the one that is kept."""
        async with self._one.enter():
            key = identity.issuer, identity.subject
            if self._identities.get(key) in (None, instead_of):
                self._identities[key] = identity
            return self._identities[key]

    async def owned_by(self, account_id: str) -> list[Identity]:
        """Return the identities of an account, the oldest first."""
        async with self._one.enter():
            return self._of(account_id)

    async def release(self, account_id: str, issuer: str, may_be_last: bool) -> Released:
        """Forget an account's identities at a provider, unless no way in would be left."""
        async with self._one.enter():
            mine = self._of(account_id)
            leaving = [each for each in mine if each.issuer == issuer]
            if not leaving:
                return "none"
            if len(leaving) == len(mine) and not may_be_last:
                return "last"
            for each in leaving:
                del self._identities[each.issuer, each.subject]
            return "gone"

    def _of(self, account_id: str) -> list[Identity]:
        return [each for each in self._identities.values() if each.account_id == account_id]


@lru_cache
def open_identity_store() -> MemoryIdentityStore:
    """Build the process's one store."""
    return MemoryIdentityStore()


async def get_identity_store() -> IdentityStore:
    """Hand the store to a route. `async`, as `get_users` is, and for the same reasons."""
    stores = chosen_stores.get()
    return stores.identities if stores else open_identity_store()


Identities = Annotated[IdentityStore, Depends(get_identity_store)]
