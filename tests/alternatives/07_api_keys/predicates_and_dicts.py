"""Mended: the list leaves out what died with a password.

Small predicates, put together; answers are plain dicts with ISO dates; ids are numbers."""

import secrets
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from solutions import hashing, oauth2, rbac, refresh
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.stores.api_keys import ApiKey, KeyStore, get_key_store
from solutions.oauth2 import (
    SCOPES,
    CurrentUser,
    get_current_active_user,
    get_current_user,
    oauth2_scheme,
)
from solutions.rbac import token_scopes
from solutions.support.safe_route import SafeRoute
from solutions.stores.users import User, UserStore, get_users

PREFIX = "faw_"
SHOWN_CHARACTERS = 9
ALPHABET = string.ascii_letters + string.digits + "-_"  # 6 bits a letter

api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)
optional_token = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES, auto_error=False)

Users = Annotated[UserStore, Depends(get_users)]
Keys = Annotated[KeyStore, Depends(get_key_store)]
PresentedKey = Annotated[str | None, Depends(api_key_header)]

refusal = partial(HTTPException, headers=None)
challenge = partial(HTTPException, 401)


def draw_key() -> str:
    return PREFIX + "".join(map(secrets.choice, [ALPHABET] * 40))


def is_alive(key: ApiKey, now: datetime) -> bool:
    return now < key.expires_at


async def owner_of(key: ApiKey, users: UserStore) -> User | None:
    """The person who made the key, if that is still the same, enabled account."""
    person = await users.get(key.owner)
    same = person is not None and person.security_stamp == key.stamp
    return person if same and not person.disabled else None


def common(wanted, *others) -> tuple[str, ...]:
    return tuple(each for each in dict.fromkeys(wanted) if all(each in other for other in others))


async def find_key(keys: KeyStore, users: UserStore, presented: str) -> ApiKey | None:
    key = await keys.find(digest_of(presented))
    owner = key and is_alive(key, datetime.now(UTC)) and await owner_of(key, users)
    return replace(key, scopes=common(key.scopes, owner.scopes)) if owner else None


async def get_api_key(presented: PresentedKey, keys: Keys, users: Users) -> ApiKey:
    if not presented:
        raise challenge("API Key required", {"WWW-Authenticate": "APIKey"})
    if not (key := await find_key(keys, users, presented)):
        raise refusal(403, "Invalid API Key")
    return key


class Caller(NamedTuple):
    username: str
    scopes: tuple[str, ...]


async def caller_by_key(presented: str, keys: KeyStore, users: UserStore) -> Caller:
    key = await get_api_key(presented, keys, users)
    return Caller(key.owner, key.scopes)


async def caller_by_token(token: str, users: UserStore) -> Caller:
    user = await get_current_active_user(await get_current_user(token, users))
    return Caller(user.username, common(token_scopes(token), user.scopes))


async def get_caller(
    presented: PresentedKey,
    token: Annotated[str | None, Depends(optional_token)],
    keys: Keys,
    users: Users,
) -> Caller:
    if presented and token is not None:
        raise refusal(400, "Key or token, which one?")
    if presented:
        return await caller_by_key(presented, keys, users)
    return await caller_by_token(token or "", users)


def refuse_unprintable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("unprintable characters")
    return name


@dataclass(config=ConfigDict(extra="forbid"))
class KeyRequest:
    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(refuse_unprintable)]
    scopes: Annotated[list[str], Field(max_length=20)]
    expires_in_days: Annotated[int, Field(ge=1, le=365)]


def visible(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "prefix": key.prefix,
        "name": key.name,
        "scopes": key.scopes,
        "created_at": key.created_at.isoformat(timespec="seconds"),
        "expires_at": key.expires_at.isoformat(timespec="seconds"),
    }


def key_for(user: User, wanted: KeyRequest, text: str, now: datetime) -> ApiKey:
    return ApiKey(
        digest=digest_of(text),
        id=str(secrets.randbits(63)),
        prefix=text[:SHOWN_CHARACTERS],
        name=wanted.name,
        owner=user.username,
        stamp=user.security_stamp,
        scopes=common(wanted.scopes),
        created_at=now,
        expires_at=now + timedelta(days=wanted.expires_in_days),
    )


router = APIRouter(route_class=SafeRoute, tags=["07 API keys"])


@router.post("/api-keys", status_code=201)
async def create_api_key(
    wanted: KeyRequest,
    user: CurrentUser,
    token: Annotated[str, Depends(oauth2_scheme)],
    keys: Keys,
    response: Response,
) -> dict[str, Any]:
    if common(wanted.scopes) != common(wanted.scopes, token_scopes(token), user.scopes):
        raise refusal(403, "Scopes beyond yours")
    text = draw_key()
    key = key_for(user, wanted, text, datetime.now(UTC).replace(microsecond=0))
    await keys.add(key)
    response.headers["Cache-Control"] = "no-store"
    return visible(key) | {"key": text}


@router.get("/api-keys")
async def list_api_keys(user: CurrentUser, keys: Keys) -> list[dict[str, Any]]:
    mine = await keys.owned_by(user.username)
    return [visible(key) for key in mine if key.stamp == user.security_stamp]


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_api_key(key_id: str, user: CurrentUser, keys: Keys) -> None:
    if not await keys.revoke(user.username, key_id):
        raise refusal(404, "Nothing there")


@router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> dict[str, str]:
    return {"message": f"Good key, {key.name}", "owner": key.owner}


@router.get("/api/items")
async def read_items(caller: Annotated[Caller, Depends(get_caller)]) -> list[dict[str, str]]:
    if "items" not in caller.scopes:
        raise refusal(403, "items is missing")
    return [{"item_id": "Foo", "owner": caller.username}]


app = create_app(
    "Lesson 07: API keys", hashing.router, oauth2.router, oauth2.demo_router, refresh.router, rbac.router, router
)
