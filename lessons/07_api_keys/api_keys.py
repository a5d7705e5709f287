"""Lesson 07. API keys: for programs that act for somebody, within limits and until a day."""

import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response, Security, status
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from solutions import hashing, oauth2, rbac, refresh
from solutions.apps import create_app
from solutions.digests import digest_of
from solutions.key_store import ApiKey, KeyStore, get_key_store
from solutions.oauth2 import (
    SCOPES,
    CurrentUser,
    Item,
    get_current_active_user,
    get_current_user,
    oauth2_scheme,
)
from solutions.rbac import token_scopes
from solutions.safe_route import SafeRoute
from solutions.users import User, UserStore, get_users

PREFIX = "faw_"  # a search for leaked keys, in code or logs, needs something to look for
SHOWN_CHARACTERS = 12  # of a key, for its owner to know it by; 35 random ones stay unknown

api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)
optional_token = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES, auto_error=False)

Users = Annotated[UserStore, Depends(get_users)]
Keys = Annotated[KeyStore, Depends(get_key_store)]
PresentedKey = Annotated[str | None, Security(api_key_header)]


def draw_key() -> str:
    """Draw a new API key: the prefix and 256 random bits (ASVS 11.5.1)."""
    raise NotImplementedError("TODO 1: draw a key that nobody can guess")


def find_key(keys: KeyStore, users: UserStore, presented: str) -> ApiKey | None:
    """Return the key if it is good at this moment, with the scopes that it has at this moment.

    None for a key that is unknown, revoked or expired, and for one whose owner is gone, disabled,
    or has changed the password since. A key never has a scope that its owner has lost (CWE-250).
    """
    raise NotImplementedError("TODO 2: return the key if it is good at this moment")


async def get_api_key(presented: PresentedKey, keys: Keys, users: Users) -> ApiKey:
    """Return the caller's API key. Raises 401 without one, and one 403 for every bad one."""
    raise NotImplementedError("TODO 3: tell a missing key from a bad one")


@dataclass(frozen=True)
class Caller:
    """Whoever calls, by token or by key, and what that credential may do."""

    username: str
    scopes: set[str]


async def get_caller(
    presented: PresentedKey,
    token: Annotated[str | None, Depends(optional_token)],
    keys: Keys,
    users: Users,
) -> Caller:
    """Return who calls, by bearer token or by API key. Raises what either would.

    Both at once are a 400: if one of them were tried when the other fails, a bad credential would
    go unnoticed (RFC 6750 section 2 says the same of tokens). Lesson 04's dependencies are called
    by hand, since only one credential is there: so a test overrides this one, not those.
    """
    if presented is not None and token is not None:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Send a token or an API key, not both")
    if presented is not None:
        key = await get_api_key(presented, keys, users)
        return Caller(username=key.owner, scopes=set(key.scopes))
    user = await get_current_active_user(await get_current_user(token or "", users))
    return Caller(username=user.username, scopes=set(token_scopes(token or "")) & set(user.scopes))


def refuse_unprintable(name: str) -> str:
    """Return the name. Raises ValueError for blanks only, control characters, lone surrogates."""
    if not name.isprintable() or name.isspace():
        raise ValueError("A name is made of printable characters.")
    return name


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


class Greeting(BaseModel):
    """What only programs with a key get to read."""

    message: str
    owner: str


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


router = APIRouter(route_class=SafeRoute, tags=["07 API keys"])


@router.post("/api-keys", status_code=status.HTTP_201_CREATED)
async def create_api_key(
    wanted: KeyRequest,
    user: CurrentUser,
    token: Annotated[str, Depends(oauth2_scheme)],
    keys: Keys,
    response: Response,
) -> NewKey:
    """Make a key for the caller and show it, this once. A key cannot make keys.

    403 for scopes that the calling token does not have. The answer must not be cached.
    """
    raise NotImplementedError("TODO 4: make a key within the limits of the calling token")


@router.get("/api-keys")
async def list_api_keys(user: CurrentUser, keys: Keys) -> list[KeyPublic]:
    """List the caller's keys that have not died with a password, without the keys."""
    mine = [key for key in keys.owned_by(user.username) if key.stamp == user.security_stamp]
    return [KeyPublic(**vars(key)) for key in mine]


@router.delete("/api-keys/{key_id}", status_code=status.HTTP_204_NO_CONTENT)
async def revoke_api_key(key_id: str, user: CurrentUser, keys: Keys) -> None:
    """Revoke one of the caller's keys, at once. 404 for anybody else's, as for no key at all."""
    if not keys.revoke(user.username, key_id):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "No such key")


@router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> Greeting:
    """Greet a program."""
    return Greeting(message="Your key is good.", owner=key.owner)


@router.get("/api/items")
async def read_items(caller: Annotated[Caller, Depends(get_caller)]) -> list[Item]:
    """List the caller's items, for a token or a key with the scope `items`."""
    if "items" not in caller.scopes:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            "Insufficient scope",
            headers={"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="items"'},
        )
    return [Item(item_id="Foo", owner=caller.username)]


app = create_app(
    "Lesson 07: API keys", hashing.router, oauth2.router, refresh.router, rbac.router, router
)
