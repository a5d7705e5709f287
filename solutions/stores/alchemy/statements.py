"""Parts of statements that several stores have in common."""

from datetime import UTC, datetime

from sqlalchemy import ScalarSelect, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.dml import Delete

from ..sql.database import Dialect
from ..sql.rows import GRACE, SWEEP, SWEPT_AT_ONCE
from .models import ApiKeyRow, Base, FlowRow, IdentityRow, SessionRow

Numbered = type[ApiKeyRow] | type[SessionRow] | type[FlowRow] | type[IdentityRow]


def insert_into(model: type[Base], dialect: Dialect) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that may say ON CONFLICT. Each dialect of SQLAlchemy has its own."""
    return sqlite.insert(model) if dialect == "sqlite" else postgresql.insert(model)


def next_number(model: Numbered) -> ScalarSelect[int]:
    """Return a new row's number: the database's own order, since clocks of two workers differ."""
    return select(func.coalesce(func.max(model.number), 0) + 1).scalar_subquery()


class Sweeper:
    """Forgets rows that nobody needs, some at a time, at most once a minute in each process."""

    def __init__(self, *keys: InstrumentedAttribute[str]) -> None:
        """Take columns that tell rows apart, each of a model whose rows come to an end."""
        self._keys = keys
        self._next = datetime.now(UTC) + SWEEP

    def due(self) -> list[Delete]:
        """Return the statements whose time has come."""
        now = datetime.now(UTC)
        if now < self._next:
            return []
        self._next = now + SWEEP
        return [
            delete(key.class_).where(
                key.in_(select(key).where(key.class_.expires_at < now - GRACE).limit(SWEPT_AT_ONCE))
            )
            for key in self._keys
        ]
