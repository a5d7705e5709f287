"""Logins under way at a provider, in a database, by SQLAlchemy."""

from sqlalchemy import ColumnElement, delete, insert, select

from ..flows import MAX_FLOWS, MAX_FLOWS_OF_A_SESSION, Flow, Purpose
from .engine import AlchemyDatabase
from .models import FlowRow
from .statements import Sweeper, next_number


class AlchemyFlows:
    """A `FlowStore` in a database."""

    def __init__(self, database: AlchemyDatabase, max_flows: int = MAX_FLOWS) -> None:
        self.database = database
        self._max_flows = max_flows
        self._sweeper = Sweeper(FlowRow.state)

    async def add(self, flow: Flow) -> None:
        """Keep a new flow. Of too many the oldest is forgotten, first of the same session."""
        for deletion in self._sweeper.due():
            await self.database.do(deletion)
        await self.database.do(
            insert(FlowRow).values(
                session=flow.session,
                state=flow.state,
                number=next_number(FlowRow),
                provider=flow.provider,
                nonce=flow.nonce,
                verifier=flow.verifier,
                next=flow.purpose.next,
                link_to=flow.purpose.link_to,
                expires_at=flow.expires_at,
            )
        )
        await self._keep(MAX_FLOWS_OF_A_SESSION, FlowRow.session == flow.session)
        await self._keep(self._max_flows)

    async def take(self, session: str, state: str) -> Flow | None:
        """Return a flow by both digests and forget it, also one that is over; or None."""
        row = await self.database.first(
            delete(FlowRow)
            .where(FlowRow.session == session, FlowRow.state == state)
            .returning(FlowRow)
        )
        return _to_flow(row) if row else None

    async def _keep(self, most: int, *of: ColumnElement[bool]) -> None:
        newest = select(FlowRow.number).where(*of).order_by(FlowRow.number.desc())
        first_to_go = newest.limit(1).offset(most).scalar_subquery()
        await self.database.do(delete(FlowRow).where(*of, FlowRow.number <= first_to_go))


def _to_flow(row: FlowRow) -> Flow:
    return Flow(
        session=row.session,
        state=row.state,
        provider=row.provider,
        nonce=row.nonce,
        verifier=row.verifier,
        purpose=Purpose(next=row.next, link_to=row.link_to),
        expires_at=row.expires_at,
    )
