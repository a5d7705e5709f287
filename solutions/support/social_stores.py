"""What is kept of a login at a provider, and where."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends

from ..stores.flows import Flow, FlowStore, Purpose, get_flow_store
from ..stores.identities import IdentityStore, get_identity_store
from ..stores.sessions import Session, SessionStore, get_session_store
from ..stores.users import UserStore, get_users
from .digests import digest_of
from .providers import Provider

FLOW_LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True)
class AllStores:
    """The stores that a login at a provider needs."""

    sessions: SessionStore
    flows: FlowStore
    identities: IdentityStore
    users: UserStore


async def get_stores() -> AllStores:
    """Hand all of them to a route at once."""
    return AllStores(
        await get_session_store(),
        await get_flow_store(),
        await get_identity_store(),
        await get_users(),
    )


Stores = Annotated[AllStores, Depends(get_stores)]


def flow_of(
    provider: Provider, session: Session, state: str, nonce: str, verifier: str, purpose: Purpose
) -> Flow:
    """Return what is kept of a login that begins now, for ten minutes."""
    return Flow(
        session=session.digest,
        state=digest_of(state),
        provider=provider.name,
        nonce=nonce,
        verifier=verifier,
        purpose=purpose,
        expires_at=datetime.now(UTC) + FLOW_LIFETIME,
    )


async def keep_for_a_flow(sessions: SessionStore, found: Session | None) -> Session | None:
    """Let a pre-session live as long as the flow that begins in it. A session stays as it is."""
    if found is None or found.username:
        return found
    longer = replace(found, expires_at=datetime.now(UTC) + FLOW_LIFETIME)
    await sessions.add(longer)
    return longer
