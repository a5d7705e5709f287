"""Words of lesson 13: roles in a tenant, who calls there, and what is asked and answered."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from fastapi import HTTPException, Query, status
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, model_validator

from ..stores.sql.rows import to_moment
from ..stores.tenants import After, Row
from ..stores.users import User
from .key_forms import refuse_unprintable

MOST_AT_ONCE = 100  # rows of a page, and ids of a change
INVITED_FOR = timedelta(days=7)


class Role(StrEnum):
    """What somebody may be in a tenant, from the least to the most. No account has these."""

    KEY = "key"  # an API key of the tenant, whoever made it
    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"


def rank(role: str) -> int:
    """Return how much a role may do, as a number to compare. An unknown role may do nothing."""
    roles: list[str] = list(Role)
    return roles.index(role) if role in roles else -1


@dataclass(frozen=True)
class Caller:
    """Who calls, before anybody has asked for which tenant: a person, or an API key."""

    user: User | None = None
    key: str | None = field(default=None, repr=False)  # as it was sent; of which tenant, if any?


@dataclass(frozen=True)
class Membership:
    """That an account is in a tenant. Of an account that is gone it is nobody's."""

    account_id: str
    username: str
    email: str  # of the account when it came in; empty without one
    role: str


def membership_of(row: Row) -> Membership:
    """Return the membership of a row."""
    return Membership(row["account_id"], row["username"], row["email"], row["role"])


def no_tenant() -> HTTPException:
    """Return the one answer to all who are not in: also where there is no such tenant (CWE-204)."""
    return HTTPException(status.HTTP_404_NOT_FOUND, "No such tenant")


def not_found() -> HTTPException:
    """Return the answer for what is not in this tenant, be it in another one or in none."""
    return HTTPException(status.HTTP_404_NOT_FOUND, "Not found")


def forbidden() -> HTTPException:
    """Return the answer to a member who may not do this."""
    return HTTPException(status.HTTP_403_FORBIDDEN, "Insufficient permissions")


Printable = AfterValidator(refuse_unprintable)
Name = Annotated[str, Field(min_length=1, max_length=64), Printable]
Title = Annotated[str, Field(min_length=1, max_length=200), Printable]
Address = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$"), Printable]
Granted = Annotated[Role, Field(json_schema_extra={"enum": [*Role][1:]})]


class Form(BaseModel):
    """What is sent. No other field passes, a tenant's least of all (CWE-915)."""

    model_config = ConfigDict(extra="forbid")


class NewTenant(Form):
    """How a tenant shall be called. Names need not differ: a taken one would tell (CWE-204)."""

    name: Name


class TenantPublic(BaseModel):
    """A tenant, as one who is in sees it."""

    id: str
    name: str
    role: str


class MemberPublic(BaseModel):
    """A member, as the others see them."""

    username: str
    role: str


def refuse_key(role: Role) -> Role:
    """Return a role that a person may have. Raises ValueError for that of a key."""
    if role == Role.KEY:
        raise ValueError("A person is a member, an admin or an owner.")
    return role


PersonsRole = Annotated[Granted, AfterValidator(refuse_key)]


class MemberChange(Form):
    """What a member shall be from now on."""

    role: PersonsRole


class NewItem(Form):
    """What an item says."""

    title: Title


class ItemChange(Form):
    """What may change of an item."""

    title: Title | None = None
    done: StrictBool | None = None

    @model_validator(mode="after")
    def refuse_nothing(self) -> Self:
        """Refuse a change of nothing."""
        if self.title is None and self.done is None:
            raise ValueError("Give a title, or done.")
        return self

    def fields(self) -> dict[str, str | int]:
        """Return the columns to change, with their new values."""
        fields: dict[str, str | int] = {}
        if self.title is not None:
            fields["title"] = self.title
        if self.done is not None:
            fields["done"] = int(self.done)
        return fields


class ItemsChange(Form):
    """Which items shall be done, or not, all at once."""

    ids: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=MOST_AT_ONCE)
    done: StrictBool


class TenantItem(BaseModel):
    """An item, as all who are in see it."""

    id: str
    title: str
    done: bool
    made_by: str


class TenantItems(BaseModel):
    """Some items, how many there are, and from where to go on."""

    items: list[TenantItem]
    total: int
    next: str | None  # to be sent as `after`; null on the last page


class NewInvitation(Form):
    """Whom to ask in, and as what."""

    email: Address
    role: PersonsRole


class InvitationPublic(BaseModel):
    """An invitation that is open, as admins see it."""

    id: str
    email: str
    role: str
    expires_at: datetime


class InvitationShown(InvitationPublic):
    """The one answer that shows the secret, which goes to the address."""

    secret: str = Field(repr=False)


class Acceptance(Form):
    """What came to the address."""

    secret: str = Field(max_length=200, repr=False)


class NewTenantKey(Form):
    """What a key of the tenant shall be called, and how long it lives."""

    name: Name
    expires_in_days: int = Field(strict=True, ge=1, le=365)


class TenantKeyPublic(BaseModel):
    """A key, as admins see it later on."""

    id: str
    prefix: str
    name: str
    made_by: str
    created_at: datetime
    expires_at: datetime


class TenantKeyShown(TenantKeyPublic):
    """The one answer that shows the key."""

    key: str = Field(repr=False)


def new_id() -> str:
    """Draw the id of a tenant, or of something in one. Nobody guesses it, and it counts nothing."""
    return uuid.uuid4().hex


def item_of(row: Row) -> TenantItem:
    """Return what is shown of an item."""
    return TenantItem(**{**row, "done": bool(row["done"])})


def invitation_of(row: Row) -> InvitationPublic:
    """Return what is shown of an invitation."""
    return InvitationPublic(**{**row, "expires_at": to_moment(row["expires_at"])})


def key_of(row: Row) -> TenantKeyPublic:
    """Return what is shown of a key."""
    moments = {name: to_moment(row[name]) for name in ("created_at", "expires_at")}
    return TenantKeyPublic(**{**row, **moments, "made_by": row["username"]})


def cursor_of(row: Row) -> str:
    """Return from where a page goes on. It counts within the tenant, and is worth nothing else."""
    return f"{row['number']}-{row['id']}"


def after_of(cursor: str) -> After | None:
    """Return what a cursor says; None for the beginning."""
    number, _, key = cursor.partition("-")
    return (int(number), key) if cursor else None


Cursor = Annotated[str, Query(pattern=r"^(\d{1,15}-[0-9a-f]{32})?$")]
Limit = Annotated[int, Query(ge=1, le=MOST_AT_ONCE)]
Sought = Annotated[str, Query(max_length=200)]
