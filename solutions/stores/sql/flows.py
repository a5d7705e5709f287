"""Logins under way at a provider, in a database."""

from ..flows import MAX_FLOWS, MAX_FLOWS_OF_A_SESSION, Flow, Purpose
from .database import Database, Row
from .rows import Sweeper, to_moment, to_number


class SqlFlows:
    """A `FlowStore` in a database."""

    def __init__(self, database: Database, max_flows: int = MAX_FLOWS) -> None:
        self.database = database
        self._max_flows = max_flows
        self._sweeper = Sweeper(
            "DELETE FROM flows WHERE state IN"
            " (SELECT state FROM flows WHERE expires_at < :long_ago LIMIT :most)"
        )

    async def add(self, flow: Flow) -> None:
        """Keep a new flow. Of too many the oldest is forgotten, first of the same session."""
        for deletion, values in self._sweeper.due():
            await self.database.run(deletion, **values)
        await self.database.run(
            "INSERT INTO flows"
            " (session, state, number, provider, nonce, verifier, next, link_to, expires_at)"
            " VALUES (:session, :state, (SELECT coalesce(max(number), 0) + 1 FROM flows),"
            " :provider, :nonce, :verifier, :next, :link_to, :expires_at)",
            session=flow.session,
            state=flow.state,
            provider=flow.provider,
            nonce=flow.nonce,
            verifier=flow.verifier,
            next=flow.purpose.next,
            link_to=flow.purpose.link_to,
            expires_at=to_number(flow.expires_at),
        )
        await self.database.run(
            "DELETE FROM flows WHERE session = :session AND number <= (SELECT number FROM flows"
            " WHERE session = :session ORDER BY number DESC LIMIT 1 OFFSET :most)",
            session=flow.session,
            most=MAX_FLOWS_OF_A_SESSION,
        )
        await self.database.run(
            "DELETE FROM flows WHERE number <= (SELECT number FROM flows"
            " ORDER BY number DESC LIMIT 1 OFFSET :most)",
            most=self._max_flows,
        )

    async def take(self, session: str, state: str) -> Flow | None:
        """Return a flow by both digests and forget it, also one that is over; or None."""
        rows = await self.database.run(
            "DELETE FROM flows WHERE session = :session AND state = :state RETURNING *",
            session=session,
            state=state,
        )
        return _to_flow(rows[0]) if rows else None


def _to_flow(row: Row) -> Flow:
    return Flow(
        session=row["session"],
        state=row["state"],
        provider=row["provider"],
        nonce=row["nonce"],
        verifier=row["verifier"],
        purpose=Purpose(next=row["next"], link_to=row["link_to"]),
        expires_at=to_moment(row["expires_at"]),
    )
