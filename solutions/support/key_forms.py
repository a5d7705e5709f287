"""What is asked and answered about API keys, and what is kept of a new one."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..stores.api_keys import ApiKey
from ..stores.users import User
from .digests import digest_of

SHOWN_CHARACTERS = 12  # of a key, for its owner to know it by; 35 random ones stay unknown


def refuse_unprintable(name: str) -> str:
    """Return the name. Raises ValueError for blanks only, control characters, lone surrogates."""
    if not name.isprintable() or name.isspace():
        raise ValueError("A name is made of printable characters.")
    return name


@dataclass(frozen=True)
class Caller:
    """Whoever calls, by token or by key, and what that credential may do."""

    username: str
    scopes: set[str]


class KeyRequest(BaseModel):
    """What a key shall be for, and how long."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(refuse_unprintable)]
    scopes: list[str] = Field(max_length=20)
    expires_in_days: int = Field(strict=True, ge=1, le=365)


class KeyPublic(BaseModel):
    """What an owner can see of a key later on."""

    id: str
    prefix: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime


class NewKey(KeyPublic):
    """The one answer that shows the key."""

    key: str = Field(repr=False)


def record_of(text: str, wanted: KeyRequest, user: User) -> ApiKey:
    """Return what is kept of a new key: its digest, whose it is, what it may do and until when."""
    now = datetime.now(UTC)
    return ApiKey(
        digest=digest_of(text),
        id=uuid.uuid4().hex,
        prefix=text[:SHOWN_CHARACTERS],
        name=wanted.name,
        owner=user.username,
        stamp=user.security_stamp,
        scopes=tuple(dict.fromkeys(wanted.scopes)),
        created_at=now,
        expires_at=now + timedelta(days=wanted.expires_in_days),
    )
