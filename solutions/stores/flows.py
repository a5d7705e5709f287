"""Logins that are under way at a provider: begun in one browser, to be finished in the same one.

Routes reach their store through `get_flow_store` only.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Protocol

from fastapi import Depends

from .chosen import chosen_stores
from .one_at_a_time import OneAtATime

MAX_FLOWS = 20_000  # anybody can begin one, and memory has an end (CWE-770)
MAX_FLOWS_OF_A_SESSION = 20  # tabs of one browser


@dataclass(frozen=True)
class Purpose:
    """What a login at a provider is for."""

    next: str = "/account"  # where to go on, a path of this site
    link_to: str = ""  # the id of the account that gets another way in; empty for a login


@dataclass(frozen=True)
class Flow:
    """One login under way, as it is kept."""

    session: str = field(repr=False)  # the digest of the session or pre-session that began it
    state: str = field(repr=False)  # the digest of the text that comes back with the answer
    provider: str  # its name in addresses
    nonce: str = field(repr=False)  # the ID token has to bring it back
    verifier: str = field(repr=False)  # opens the code (PKCE); only its digest has left us
    purpose: Purpose
    expires_at: datetime


class FlowStore(Protocol):
    """Flows by session and state. Each method is one step: no other request comes in between."""

    async def add(self, flow: Flow) -> None:
        """Keep a new flow. Of too many the oldest is forgotten, first of the same session."""

    async def take(self, session: str, state: str) -> Flow | None:
        """Return a flow by both digests and forget it, also one that is over; or None."""


class MemoryFlowStore:
    """A `FlowStore` in memory. It loses everything at a restart."""

    def __init__(self, max_flows: int = MAX_FLOWS) -> None:
        self._one = OneAtATime()
        self._max_flows = max_flows
        self._flows: dict[tuple[str, str], Flow] = {}  # the oldest first

    async def add(self, flow: Flow) -> None:
        """Keep a new flow, and forget those that are over."""
        async with self._one.enter():
            now = datetime.now(UTC)
            while self._flows and next(iter(self._flows.values())).expires_at <= now:
                del self._flows[next(iter(self._flows))]
            same = [key for key in self._flows if key[0] == flow.session]
            if len(same) >= MAX_FLOWS_OF_A_SESSION:
                del self._flows[same[0]]
            elif len(self._flows) >= self._max_flows:
                del self._flows[next(iter(self._flows))]
            self._flows[flow.session, flow.state] = flow

    async def take(self, session: str, state: str) -> Flow | None:
        """Return a flow by both digests and forget it, also one that is over; or None."""
        async with self._one.enter():
            return self._flows.pop((session, state), None)


@lru_cache
def open_flow_store() -> MemoryFlowStore:
    """Build the process's one store."""
    return MemoryFlowStore()


async def get_flow_store() -> FlowStore:
    """Hand the store to a route. `async`, as `get_users` is, and for the same reasons."""
    stores = chosen_stores.get()
    return stores.flows if stores else open_flow_store()


Flows = Annotated[FlowStore, Depends(get_flow_store)]
