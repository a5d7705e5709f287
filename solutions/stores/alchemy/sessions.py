"""Sessions of browsers in a database, by SQLAlchemy."""

from datetime import UTC, datetime

from sqlalchemy import case, delete, literal, select, update

from ...support.seams import note
from ..sessions import MAX_PRE_SESSIONS, Session
from .engine import AlchemyDatabase
from .models import Moment, SessionRow
from .statements import Sweeper, insert_into, next_number


class AlchemySessions:
    """A `SessionStore` in a database."""

    def __init__(self, database: AlchemyDatabase, max_pre_sessions: int = MAX_PRE_SESSIONS) -> None:
        self.database = database
        self._max_pre_sessions = max_pre_sessions
        self._sweeper = Sweeper(SessionRow.digest)

    async def add(self, session: Session) -> None:
        """Keep a new session, or the same one anew. Of too many pre-sessions the oldest goes."""
        for deletion in self._sweeper.due():
            await self.database.do(deletion)
        new = insert_into(SessionRow, self.database.dialect).values(
            digest=session.digest,
            id=session.id,
            number=next_number(SessionRow),
            csrf_token=session.csrf_token,
            username=session.username,
            stamp=session.stamp,
            user_agent=session.user_agent,
            created_at=session.created_at,
            last_seen=session.last_seen,
            expires_at=session.expires_at,
        )
        await self.database.do(
            new.on_conflict_do_update(
                index_elements=[SessionRow.digest],
                set_={
                    "last_seen": new.excluded.last_seen,
                    "expires_at": new.excluded.expires_at,
                },
            )
        )
        if session.username:
            note(whom=session.username)
            return
        oldest_but = (
            select(SessionRow.number)
            .where(SessionRow.username == "")
            .order_by(SessionRow.number.desc())
            .limit(1)
            .offset(self._max_pre_sessions)
        )
        await self.database.do(
            delete(SessionRow).where(
                SessionRow.username == "", SessionRow.number <= oldest_but.scalar_subquery()
            )
        )

    async def find(self, digest: str) -> Session | None:
        """Return the session of that digest, also one that is over, or None."""
        row = await self.database.first(select(SessionRow).where(SessionRow.digest == digest))
        return _to_session(row) if row else None

    async def touch(self, digest: str) -> Session | None:
        """Note that a session is used now, and return it so; None when it has been ended."""
        now = literal(datetime.now(UTC), Moment)
        row = await self.database.first(
            update(SessionRow)
            .where(SessionRow.digest == digest)
            # Never back: another worker's clock may be ahead.
            .values(last_seen=case((SessionRow.last_seen < now, now), else_=SessionRow.last_seen))
            .returning(SessionRow)
        )
        return _to_session(row) if row else None

    async def end(self, digest: str) -> None:
        """Forget a session. One that is not there is no error."""
        await self.database.do(delete(SessionRow).where(SessionRow.digest == digest))

    async def owned_by(self, username: str) -> list[Session]:
        """Return a person's sessions, also those that are over, the oldest first."""
        rows = await self.database.all(
            select(SessionRow)
            .where(SessionRow.username == username, SessionRow.username != "")
            .order_by(SessionRow.number, SessionRow.created_at)
        )
        return [_to_session(row) for row in rows]

    async def end_owned(self, username: str, session_id: str) -> bool:
        """Forget a person's session by its public id; False when that person has no such one."""
        ended = await self.database.first(
            delete(SessionRow)
            .where(
                SessionRow.username == username,
                SessionRow.username != "",
                SessionRow.id == session_id,
            )
            .returning(SessionRow.id)
        )
        return ended is not None

    async def end_others(self, username: str, digest: str) -> None:
        """Forget all sessions of a person but the one of that digest."""
        await self.database.do(
            delete(SessionRow).where(
                SessionRow.username == username,
                SessionRow.username != "",
                SessionRow.digest != digest,
            )
        )


def _to_session(row: SessionRow) -> Session:
    return Session(
        digest=row.digest,
        id=row.id,
        csrf_token=row.csrf_token,
        username=row.username,
        stamp=row.stamp,
        user_agent=row.user_agent,
        created_at=row.created_at,
        last_seen=row.last_seen,
        expires_at=row.expires_at,
    )
