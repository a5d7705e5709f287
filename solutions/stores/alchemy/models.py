"""The tables, as SQLAlchemy's typed models. Nothing of them leaves the stores.

No relationships: what would be loaded at the touch of an attribute is a statement that nobody sees,
and in asynchronous code an error.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Dialect, ForeignKey, Index, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from ..sql.rows import to_moment, to_number, to_text, to_words


class Moment(TypeDecorator[datetime]):
    """A moment as whole microseconds since 1970: SQLite would drop the time zone."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return what goes into the column."""
        return None if value is None else to_number(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Return what comes out of it."""
        return None if value is None else to_moment(value)


class Words(TypeDecorator[tuple[str, ...]]):
    """Words as one text in JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str | None:
        """Return what goes into the column."""
        return None if value is None else to_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        """Return what comes out of it."""
        return None if value is None else tuple(to_words(value))


class Base(DeclarativeBase):
    """All tables. Yes and no are 1 and 0, which both databases keep alike."""

    type_annotation_map = {  # noqa: RUF012
        str: Text,
        int: BigInteger,
        datetime: Moment,
        tuple[str, ...]: Words,
    }


class MigrationRow(Base):
    """A migration that the tables have behind them."""

    __tablename__ = "migrations"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class PersonRow(Base):
    """A person."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("username = lower(username)"),
        CheckConstraint("disabled IN (0, 1)"),
    )

    username: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    full_name: Mapped[str | None]
    disabled: Mapped[int] = mapped_column(server_default=text("0"))
    role: Mapped[str]
    scopes: Mapped[tuple[str, ...]]
    security_stamp: Mapped[str]
    hashed_password: Mapped[str]
    account_id: Mapped[str] = mapped_column(server_default=text("''"))
    has_password: Mapped[int] = mapped_column(server_default=text("1"))


class RefreshTokenRow(Base):
    """A refresh token. The family's columns are in each of its tokens."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (
        CheckConstraint("spent IN (0, 1)"),
        Index("refresh_tokens_by_end", "expires_at"),
    )

    digest: Mapped[str] = mapped_column(primary_key=True)
    family: Mapped[str]
    username: Mapped[str]
    stamp: Mapped[str]
    scopes: Mapped[tuple[str, ...]]
    expires_at: Mapped[datetime]
    spent: Mapped[int] = mapped_column(server_default=text("0"))


class RevokedFamilyRow(Base):
    """A family of refresh tokens that is dead."""

    __tablename__ = "revoked_families"
    __table_args__ = (Index("revoked_families_by_end", "expires_at"),)

    family: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]


class ApiKeyRow(Base):
    """An API key."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("api_keys_by_owner", "owner", "number"),
        Index("api_keys_by_end", "expires_at"),
    )

    digest: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    number: Mapped[int]
    prefix: Mapped[str]
    name: Mapped[str]
    owner: Mapped[str]
    stamp: Mapped[str]
    scopes: Mapped[tuple[str, ...]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class SessionRow(Base):
    """A browser's session, or a pre-session: one of nobody."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("sessions_by_owner", "username", "number"),
        Index("sessions_by_end", "expires_at"),
    )

    digest: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    number: Mapped[int]
    csrf_token: Mapped[str]
    username: Mapped[str]
    stamp: Mapped[str]
    user_agent: Mapped[str]
    created_at: Mapped[datetime]
    last_seen: Mapped[datetime]
    expires_at: Mapped[datetime]


class FlowRow(Base):
    """A login under way at a provider."""

    __tablename__ = "flows"
    __table_args__ = (
        Index("flows_by_number", "number"),
        Index("flows_by_end", "expires_at"),
    )

    session: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    provider: Mapped[str]
    nonce: Mapped[str]
    verifier: Mapped[str]
    next: Mapped[str]
    link_to: Mapped[str]
    expires_at: Mapped[datetime]


class IdentityRow(Base):
    """Who somebody is at a provider."""

    __tablename__ = "identities"
    __table_args__ = (Index("identities_by_account", "account_id", "number"),)

    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    username: Mapped[str]
    account_id: Mapped[str]
    label: Mapped[str]
    linked_at: Mapped[datetime]


class TenantRow(Base):
    """A tenant. Its rows, and those below, are reached by plain SQL's `Rows` only: see `app`."""

    __tablename__ = "tenants"
    __table_args__ = (CheckConstraint("tenant <> ''"),)

    tenant: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    name: Mapped[str]


class MembershipRow(Base):
    """Who is in a tenant, and what they are there."""

    __tablename__ = "memberships"
    __table_args__ = (
        CheckConstraint("account_id <> ''"),
        Index("memberships_by_account", "account_id"),
    )

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.tenant"), primary_key=True)
    account_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    username: Mapped[str]
    email: Mapped[str]
    role: Mapped[str]


class ItemRow(Base):
    """An item of a tenant."""

    __tablename__ = "items"
    __table_args__ = (
        CheckConstraint("done IN (0, 1)"),
        Index("items_by_number", "tenant", "number", "id"),
    )

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.tenant"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    title: Mapped[str]
    done: Mapped[int] = mapped_column(server_default=text("0"))
    made_by: Mapped[str]


class InvitationRow(Base):
    """An invitation into a tenant."""

    __tablename__ = "invitations"

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.tenant"), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str]
    number: Mapped[int]
    email: Mapped[str]
    role: Mapped[str]
    invited_by: Mapped[str]
    expires_at: Mapped[datetime]


class TenantKeyRow(Base):
    """An API key of a tenant."""

    __tablename__ = "tenant_keys"

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.tenant"), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str]
    number: Mapped[int]
    prefix: Mapped[str]
    name: Mapped[str]
    account_id: Mapped[str]
    username: Mapped[str]
    stamp: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
