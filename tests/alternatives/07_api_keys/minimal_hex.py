"""Mended: the list leaves out what died with a password, and shows no digit of the key.

The smallest keys allowed, 128 bits in hex; ends compared as Unix times; ids like UUID 7.

The owner is looked at first, the end last, and the digest once more in constant time.
"""

import hmac
import secrets
import time
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, StringConstraints, conint, conlist, field_validator

from solutions import hashing, oauth2, rbac, refresh
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.stores.api_keys import ApiKey, KeyStore, get_key_store
from solutions.oauth2 import (
    CurrentUser,
    Item,
    get_current_active_user,
    get_current_user,
    oauth2_scheme,
)
from solutions.rbac import token_scopes
from solutions.support.safe_route import SafeRoute
from solutions.stores.users import UserStore, get_users

PREFIX = "faw_"
SHOWN_CHARACTERS = 4  # all 32 hex digits, 128 bits, stay unknown
DAY = 24 * 60 * 60

api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)
optional_token = HTTPBearer(auto_error=False)

Users = Annotated[UserStore, Depends(get_users)]
Keys = Annotated[KeyStore, Depends(get_key_store)]
PresentedKey = Annotated[str | None, Security(api_key_header)]


def draw_key() -> str:
    return PREFIX + secrets.token_hex(16)


def draw_id() -> str:
    """48 bits of time, then 74 random ones (RFC 9562 section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    number = (
        milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    )
    return str(uuid.UUID(int=number))


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


async def find_key(keys: KeyStore, users: UserStore, presented: str) -> ApiKey | None:
    digest = digest_of(presented)
    key = await keys.find(digest)
    if key is None or not hmac.compare_digest(key.digest.encode(), digest.encode()):
        return None
    owner = await users.get(key.owner)
    if owner is None:
        return None
    if not secrets.compare_digest(owner.security_stamp.encode(), key.stamp.encode()):
        return None
    if owner.disabled:
        return None
    scopes = tuple(scope for scope in owner.scopes if scope in key.scopes)
    if time.time() >= key.expires_at.timestamp():
        return None
    return replace(key, scopes=scopes)


async def get_api_key(presented: PresentedKey, keys: Keys, users: Users) -> ApiKey:
    if presented:
        key = await find_key(keys, users, presented)
        if key is None:
            raise HTTPException(403, detail="Invalid API Key")
        return key
    raise HTTPException(
        401,
        detail="API Key required",
        headers={"WWW-Authenticate": 'APIKey header="X-API-Key"'},
    )


@dataclass
class Caller:
    username: str
    scopes: set[str]


async def get_caller(
    presented: PresentedKey,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(optional_token)],
    keys: Keys,
    users: Users,
) -> Caller:
    if bearer is None:
        if presented is None:
            raise HTTPException(401, "Not authenticated", headers={"WWW-Authenticate": "Bearer"})
        key = await get_api_key(presented, keys, users)
        return Caller(key.owner, set(key.scopes))
    if presented is not None:
        raise HTTPException(400, "Ambiguous credentials")
    token = bearer.credentials
    user = await get_current_active_user(await get_current_user(token, users))
    return Caller(user.username, {scope for scope in token_scopes(token) if scope in user.scopes})


class KeyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    scopes: conlist(str, max_length=20)
    expires_in_days: conint(ge=1, le=365)

    @field_validator("name", mode="after")
    @classmethod
    def printable(cls, name: str) -> str:
        if not all(letter.isprintable() for letter in name):
            raise ValueError("no control characters")
        return name


class KeyPublic(BaseModel):
    id: str
    prefix: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime


class NewKey(KeyPublic):
    key: str


class Greeting(BaseModel):
    message: str
    owner: str


router = APIRouter(route_class=SafeRoute, tags=["07 API keys"])


@router.post("/api-keys", status_code=201)
async def create_api_key(
    wanted: KeyRequest,
    user: CurrentUser,
    token: Annotated[str, Depends(oauth2_scheme)],
    keys: Keys,
    response: Response,
) -> NewKey:
    granted = token_scopes(token)
    for scope in wanted.scopes:
        if scope not in granted or scope not in user.scopes:
            raise HTTPException(403, "Not allowed to hand out these scopes")
    text, seconds = draw_key(), time.time()
    shared = {
        "id": draw_id(),
        "prefix": text[:SHOWN_CHARACTERS],
        "name": wanted.name,
        "scopes": tuple(wanted.scopes),
        "created_at": utc(seconds),
        "expires_at": utc(seconds + wanted.expires_in_days * DAY),
    }
    await keys.add(
        ApiKey(
            digest=digest_of(text), owner=user.username, stamp=user.security_stamp, **shared
        )
    )
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return NewKey(key=text, **shared)


@router.get("/api-keys")
async def list_api_keys(user: CurrentUser, keys: Keys) -> list[KeyPublic]:
    mine = await keys.owned_by(user.username)
    return [KeyPublic(**vars(key)) for key in mine if key.stamp == user.security_stamp]


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_api_key(key_id: str, user: CurrentUser, keys: Keys) -> None:
    if not await keys.revoke(user.username, key_id):
        raise HTTPException(404, "No such key")


@router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> Greeting:
    return Greeting(message="ok", owner=key.owner)


@router.get("/api/items")
async def read_items(caller: Annotated[Caller, Depends(get_caller)]) -> list[Item]:
    if "items" not in caller.scopes:
        raise HTTPException(403, "Scope items needed")
    return [Item(item_id="Foo", owner=caller.username)]


app = create_app(
    "Lesson 07: API keys", hashing.router, oauth2.router, oauth2.demo_router, refresh.router, rbac.router, router
)
