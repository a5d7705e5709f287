"""Small stores with nothing of the ones in memory: everything is text, and every method waits.

So does a database. `tests/test_seam.py` runs the whole system on them.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from solutions.stores.api_keys import ApiKey
from solutions.stores.one_at_a_time import OneAtATime
from solutions.stores.refresh_tokens import Family, RefreshToken
from solutions.stores.sessions import MAX_PRE_SESSIONS, Session
from solutions.stores.users import UserInDB, fold_username, new_security_stamp

KEY = TypeAdapter(ApiKey)
SESSION = TypeAdapter(Session)
TOKEN = TypeAdapter(RefreshToken)


class _Slow:
    """One step at a time, and a wait before and after each."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.steps = 0
        self._one = OneAtATime()

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        await asyncio.sleep(0.001)
        async with self._one.enter():
            self.steps += 1
            await asyncio.sleep(0)
            yield
        await asyncio.sleep(0)


class SlowUsers(_Slow):
    """A `UserStore`."""

    def _load(self, username: str) -> UserInDB | None:
        row = self.rows.get(fold_username(username) or "")
        if row is None:
            return None
        fields, hashed = json.loads(row)
        return UserInDB(**fields, hashed_password=hashed)

    def _save(self, person: UserInDB) -> None:
        row = json.dumps([person.model_dump(), person.hashed_password])
        self.rows[person.username] = row

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Let nobody else in; an exception undoes what was written."""
        async with self._one.enter():
            before = dict(self.rows)
            try:
                yield
            except BaseException:
                self.rows = before
                raise

    async def get(self, username: str) -> UserInDB | None:
        """Return one person."""
        async with self._step():
            return self._load(username)

    async def everyone(self) -> list[UserInDB]:
        """Return all people."""
        async with self._step():
            return [person for name in self.rows if (person := self._load(name))]

    async def add(self, person: UserInDB) -> bool:
        """Store a new person."""
        username = fold_username(person.username)
        if username is None:
            raise ValueError("not a username")
        async with self._step():
            if username in self.rows:
                return False
            self._save(person.model_copy(update={"username": username}))
            return True

    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        """Compare and set."""
        async with self._step():
            person = self._load(username)
            if person is None or person.hashed_password != old:
                return False
            self._save(person.model_copy(update={"hashed_password": new}))
            return True

    async def change(self, username: str, **changes: Any) -> UserInDB | None:
        """Change fields of a person."""
        if set(changes) - set(UserInDB.model_fields) | {"username"} & set(changes):
            raise ValueError("cannot change that")
        async with self._step():
            person = self._load(username)
            if person is None:
                return None
            again = person.disabled and changes.get("disabled") is False
            if again or "hashed_password" in changes:
                changes = {"security_stamp": new_security_stamp(), **changes}
            if "hashed_password" in changes:
                changes = {"has_password": True, **changes}
            self._save(person.model_copy(update=changes))
            return self._load(username)

    async def remove(self, username: str) -> bool:
        """Forget a person."""
        async with self._step():
            return self.rows.pop(fold_username(username) or "", None) is not None


class SlowRefreshTokens(_Slow):
    """A `RefreshStore`."""

    def __init__(self) -> None:
        super().__init__()
        self.revoked: set[str] = set()

    def _load(self, digest: str) -> RefreshToken | None:
        row = self.rows.get(digest)
        token = TOKEN.validate_json(row) if row else None
        if token and token.family.id in self.revoked:
            token = replace(token, spent=True)
        return token

    async def add(self, token: RefreshToken) -> None:
        """Keep a new token."""
        async with self._step():
            self.rows[token.digest] = TOKEN.dump_json(token).decode()

    async def find(self, digest: str) -> RefreshToken | None:
        """Look at a token."""
        async with self._step():
            return self._load(digest)

    async def consume(self, digest: str) -> RefreshToken | None:
        """Spend a live token."""
        async with self._step():
            token = self._load(digest)
            if token is None or token.spent:
                return None
            self.rows[digest] = TOKEN.dump_json(replace(token, spent=True)).decode()
            return token

    async def revoke(self, family: Family) -> None:
        """Make a family dead."""
        async with self._step():
            self.revoked.add(family.id)


class SlowKeys(_Slow):
    """A `KeyStore`."""

    async def add(self, key: ApiKey) -> None:
        """Keep a new key."""
        async with self._step():
            self.rows[key.digest] = KEY.dump_json(key).decode()

    async def find(self, digest: str) -> ApiKey | None:
        """Return the key of that digest."""
        async with self._step():
            row = self.rows.get(digest)
            return KEY.validate_json(row) if row else None

    async def owned_by(self, username: str) -> list[ApiKey]:
        """Return a person's keys."""
        async with self._step():
            keys = [KEY.validate_json(row) for row in self.rows.values()]
            return [key for key in keys if key.owner == username]

    async def revoke(self, username: str, key_id: str) -> bool:
        """Forget a person's key."""
        async with self._step():
            for digest, row in self.rows.items():
                key = KEY.validate_json(row)
                if (key.owner, key.id) == (username, key_id):
                    del self.rows[digest]
                    return True
            return False


class SlowSessions(_Slow):
    """A `SessionStore`."""

    def __init__(self, max_pre_sessions: int = MAX_PRE_SESSIONS) -> None:
        super().__init__()
        self._max_pre_sessions = max_pre_sessions

    def _owned_by(self, username: str) -> list[Session]:
        sessions = [SESSION.validate_json(row) for row in self.rows.values()]
        return [session for session in sessions if session.username == username]

    async def add(self, session: Session) -> None:
        """Keep a new session."""
        async with self._step():
            self.rows[session.digest] = SESSION.dump_json(session).decode()
            if not session.username:
                pre_sessions = self._owned_by("")
                surplus = max(0, len(pre_sessions) - self._max_pre_sessions)
                for old in pre_sessions[:surplus]:
                    del self.rows[old.digest]

    async def find(self, digest: str) -> Session | None:
        """Return the session of that digest."""
        async with self._step():
            row = self.rows.get(digest)
            return SESSION.validate_json(row) if row else None

    async def touch(self, digest: str) -> Session | None:
        """Note that a session is used now."""
        async with self._step():
            row = self.rows.get(digest)
            if row is None:
                return None
            used = replace(SESSION.validate_json(row), last_seen=datetime.now(UTC))
            self.rows[digest] = SESSION.dump_json(used).decode()
            return used

    async def end(self, digest: str) -> None:
        """Forget a session."""
        async with self._step():
            self.rows.pop(digest, None)

    async def owned_by(self, username: str) -> list[Session]:
        """Return a person's sessions; pre-sessions are nobody's."""
        async with self._step():
            return self._owned_by(username) if username else []

    async def end_owned(self, username: str, session_id: str) -> bool:
        """Forget a person's session by its public id."""
        async with self._step():
            for session in self._owned_by(username):
                if username and session.id == session_id:
                    del self.rows[session.digest]
                    return True
            return False

    async def end_others(self, username: str, digest: str) -> None:
        """Forget all sessions of a person but one."""
        async with self._step():
            for session in self._owned_by(username):
                if username and session.digest != digest:
                    del self.rows[session.digest]
