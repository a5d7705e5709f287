"""Sessions of browsers in a database."""

from datetime import UTC, datetime

from ...support.seams import note
from ..sessions import MAX_PRE_SESSIONS, Session
from .database import Database, Row
from .rows import Sweeper, to_moment, to_number


class SqlSessions:
    """A `SessionStore` in a database."""

    def __init__(self, database: Database, max_pre_sessions: int = MAX_PRE_SESSIONS) -> None:
        self.database = database
        self._max_pre_sessions = max_pre_sessions
        self._sweeper = Sweeper(
            "DELETE FROM sessions WHERE digest IN"
            " (SELECT digest FROM sessions WHERE expires_at < :long_ago LIMIT :most)"
        )

    async def add(self, session: Session) -> None:
        """Keep a new session, or the same one anew. Of too many pre-sessions the oldest goes."""
        for deletion, values in self._sweeper.due():
            await self.database.run(deletion, **values)
        # The database's own order: clocks of two workers differ.
        await self.database.run(
            "INSERT INTO sessions (digest, id, number, csrf_token, username, stamp, user_agent,"
            " created_at, last_seen, expires_at)"
            " VALUES (:digest, :id, (SELECT coalesce(max(number), 0) + 1 FROM sessions),"
            " :csrf_token, :username, :stamp, :user_agent, :created_at, :last_seen, :expires_at)"
            " ON CONFLICT (digest) DO UPDATE SET"
            " last_seen = excluded.last_seen, expires_at = excluded.expires_at",
            digest=session.digest,
            id=session.id,
            csrf_token=session.csrf_token,
            username=session.username,
            stamp=session.stamp,
            user_agent=session.user_agent,
            created_at=to_number(session.created_at),
            last_seen=to_number(session.last_seen),
            expires_at=to_number(session.expires_at),
        )
        if session.username:
            note(whom=session.username)
            return
        await self.database.run(
            "DELETE FROM sessions WHERE username = '' AND number <= (SELECT number FROM sessions"
            " WHERE username = '' ORDER BY number DESC LIMIT 1 OFFSET :most)",
            most=self._max_pre_sessions,
        )

    async def find(self, digest: str) -> Session | None:
        """Return the session of that digest, also one that is over, or None."""
        rows = await self.database.run(
            "SELECT * FROM sessions WHERE digest = :digest", digest=digest
        )
        return _to_session(rows[0]) if rows else None

    async def touch(self, digest: str) -> Session | None:
        """Note that a session is used now, and return it so; None when it has been ended."""
        # Never back: another worker's clock may be ahead.
        rows = await self.database.run(
            "UPDATE sessions"
            " SET last_seen = CASE WHEN last_seen < :now THEN :now ELSE last_seen END"
            " WHERE digest = :digest RETURNING *",
            digest=digest,
            now=to_number(datetime.now(UTC)),
        )
        return _to_session(rows[0]) if rows else None

    async def end(self, digest: str) -> None:
        """Forget a session. One that is not there is no error."""
        await self.database.run("DELETE FROM sessions WHERE digest = :digest", digest=digest)

    async def owned_by(self, username: str) -> list[Session]:
        """Return a person's sessions, also those that are over, the oldest first."""
        rows = await self.database.run(
            "SELECT * FROM sessions WHERE username = :username ORDER BY number, created_at",
            username=username,
        )
        return [_to_session(row) for row in rows] if username else []

    async def end_owned(self, username: str, session_id: str) -> bool:
        """Forget a person's session by its public id; False when that person has no such one."""
        rows = await self.database.run(
            "DELETE FROM sessions WHERE username = :username AND id = :id AND username <> ''"
            " RETURNING id",
            username=username,
            id=session_id,
        )
        return bool(rows)

    async def end_others(self, username: str, digest: str) -> None:
        """Forget all sessions of a person but the one of that digest."""
        await self.database.run(
            "DELETE FROM sessions WHERE username = :username AND username <> ''"
            " AND digest <> :digest",
            username=username,
            digest=digest,
        )


def _to_session(row: Row) -> Session:
    return Session(
        digest=row["digest"],
        id=row["id"],
        csrf_token=row["csrf_token"],
        username=row["username"],
        stamp=row["stamp"],
        user_agent=row["user_agent"],
        created_at=to_moment(row["created_at"]),
        last_seen=to_moment(row["last_seen"]),
        expires_at=to_moment(row["expires_at"]),
    )
