"""Which stores an app works on: those in memory, unless it says otherwise with `use_stores`."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api_keys import KeyStore
    from .flows import FlowStore
    from .identities import IdentityStore
    from .refresh_tokens import RefreshStore
    from .sessions import SessionStore
    from .tenants import TenantStore
    from .users import UserStore


async def always() -> bool:
    """Say yes, for stores that need nothing to be there."""
    return True


@dataclass(frozen=True)
class Stores:
    """All stores of an app."""

    users: "UserStore"
    refresh_tokens: "RefreshStore"
    keys: "KeyStore"
    sessions: "SessionStore"
    flows: "FlowStore"
    identities: "IdentityStore"
    tenants: "TenantStore | None" = None  # from lesson 13 on
    are_ready: Callable[[], Awaitable[bool]] = always


chosen_stores: ContextVar[Stores | None] = ContextVar("chosen_stores", default=None)
