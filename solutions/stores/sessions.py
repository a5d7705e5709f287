"""Sessions of browsers at rest: by digest, each with an owner and two ends.

Routes reach their store through `get_session_store` only.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Protocol

from fastapi import Depends

from ..support.seams import note
from .chosen import chosen_stores
from .one_at_a_time import OneAtATime

SWEEP = timedelta(minutes=1)  # between two searches for what has expired
MAX_PRE_SESSIONS = 10_000  # anybody can ask for one, and memory has an end (CWE-770)


@dataclass(frozen=True)
class Session:
    """One browser's session as it is kept: the digest of its id, never the id.

    Without a `username` it is the pre-session of a login form, and speaks for nobody.
    """

    digest: str = field(repr=False)
    id: str  # public: opens nothing, and names the session in a list
    csrf_token: str = field(repr=False)  # what forms of this session bring along
    username: str
    stamp: str = field(repr=False)  # the owner's security stamp at the login
    user_agent: str
    created_at: datetime
    last_seen: datetime
    expires_at: datetime  # absolute: use does not move it


class SessionStore(Protocol):
    """Sessions by digest. Each method is one step: no other request comes in between."""

    async def add(self, session: Session) -> None:
        """Keep a new session. Of too many pre-sessions the oldest is forgotten."""

    async def find(self, digest: str) -> Session | None:
        """Return the session of that digest, also one that is over, or None."""

    async def touch(self, digest: str) -> Session | None:
        """Note that a session is used now, and return it so; None when it has been ended."""

    async def end(self, digest: str) -> None:
        """Forget a session. One that is not there is no error."""

    async def owned_by(self, username: str) -> list[Session]:
        """Return a person's sessions, also those that are over, the oldest first."""

    async def end_owned(self, username: str, session_id: str) -> bool:
        """Forget a person's session by its public id; False when that person has no such one."""

    async def end_others(self, username: str, digest: str) -> None:
        """Forget all sessions of a person but the one of that digest."""


class MemorySessionStore:
    """A `SessionStore` in memory. It loses everything at a restart."""

    def __init__(self, max_pre_sessions: int = MAX_PRE_SESSIONS) -> None:
        self._one = OneAtATime()
        self._max_pre_sessions = max_pre_sessions
        self._sessions: dict[str, Session] = {}
        self._pre_sessions: dict[str, Session] = {}
        self._next_sweep = datetime.now(UTC) + SWEEP

    async def add(self, session: Session) -> None:
        """Keep a new session, and forget those that have expired."""
        async with self._one.enter():
            self._sweep(datetime.now(UTC))
            kept = self._sessions if session.username else self._pre_sessions
            kept[session.digest] = session
            while len(self._pre_sessions) > self._max_pre_sessions:
                del self._pre_sessions[next(iter(self._pre_sessions))]
        if session.username:
            note(whom=session.username)

    async def find(self, digest: str) -> Session | None:
        """Return the session of that digest, also one that is over, or None."""
        async with self._one.enter():
            return self._sessions.get(digest) or self._pre_sessions.get(digest)

    async def touch(self, digest: str) -> Session | None:
        """Note that a session is used now, and return it so; None when it has been ended."""
        async with self._one.enter():
            for kept in (self._sessions, self._pre_sessions):
                if session := kept.get(digest):
                    kept[digest] = replace(session, last_seen=datetime.now(UTC))
                    return kept[digest]
            return None

    async def end(self, digest: str) -> None:
        """Forget a session. One that is not there is no error."""
        async with self._one.enter():
            self._sessions.pop(digest, None)
            self._pre_sessions.pop(digest, None)

    async def owned_by(self, username: str) -> list[Session]:
        """Return a person's sessions, also those that are over, the oldest first."""
        async with self._one.enter():
            return [each for each in self._sessions.values() if each.username == username]

    async def end_owned(self, username: str, session_id: str) -> bool:
        """Forget a person's session by its public id; False when that person has no such one."""
        async with self._one.enter():
            for session in self._sessions.values():
                if (session.username, session.id) == (username, session_id):
                    del self._sessions[session.digest]
                    return True
            return False

    async def end_others(self, username: str, digest: str) -> None:
        """Forget all sessions of a person but the one of that digest."""
        async with self._one.enter():
            self._sessions = {
                key: session
                for key, session in self._sessions.items()
                if session.username != username or key == digest
            }

    def _sweep(self, now: datetime) -> None:
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP
        self._sessions = _unexpired(self._sessions, now)
        self._pre_sessions = _unexpired(self._pre_sessions, now)


def _unexpired(sessions: dict[str, Session], now: datetime) -> dict[str, Session]:
    return {digest: each for digest, each in sessions.items() if each.expires_at > now}


@lru_cache
def open_session_store() -> MemorySessionStore:
    """Build the process's one store."""
    return MemorySessionStore()


async def get_session_store() -> SessionStore:
    """Hand the store to a route. `async`, as `get_users` is, and for the same reasons."""
    stores = chosen_stores.get()
    return stores.sessions if stores else open_session_store()


Sessions = Annotated[SessionStore, Depends(get_session_store)]
