"""Every use is logged by the key's id; a store that is down is a 503; expired keys are cleared away.

Draws 32 bytes of `os.urandom` in base32. Answers carry careful headers.
"""

import asyncio
import base64
import logging
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer

from solutions import hashing, oauth2, rbac, refresh
from solutions.oauth2 import CurrentUser, Item, oauth2_scheme
from solutions.rbac import token_scopes
from solutions.stores.api_keys import ApiKey, Keys, KeyStore
from solutions.stores.users import Users, UserStore
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.support.key_forms import Caller, KeyPublic, KeyRequest, NewKey, record_of
from solutions.support.safe_route import SafeRoute

logger = logging.getLogger("keys")
PREFIX = "faw_"
CAREFUL = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store, private, max-age=0"}

header = APIKeyHeader(name="X-API-Key", auto_error=False)
optional_token = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)


def draw_key() -> str:
    return PREFIX + base64.b32encode(os.urandom(32)).decode().rstrip("=").lower()


@asynccontextmanager
async def or_503():
    try:
        yield
    except OSError:
        raise HTTPException(503, "Come back soon", {"Retry-After": "5"}) from None


async def find_key(keys: KeyStore, users: UserStore, presented: str) -> ApiKey | None:
    async with or_503():
        key = await keys.find(digest_of(presented))
        if key is None:
            return None
        if key.expires_at <= datetime.now(UTC):
            await keys.revoke(key.owner, key.id)
            return None
        owner = await users.get(key.owner)
    if not owner or owner.disabled or owner.security_stamp != key.stamp:
        return None
    logger.info("key %s of %s was used", key.id, key.owner)
    return replace(key, scopes=tuple(each for each in key.scopes if each in owner.scopes))


async def get_api_key(
    presented: Annotated[str | None, Depends(header)], keys: Keys, users: Users
) -> ApiKey:
    if not presented:
        raise HTTPException(401, "API Key required", {"WWW-Authenticate": "ApiKey"})
    key = await find_key(keys, users, presented)
    if key is None:
        logger.warning("a bad key of %d letters", len(presented))
        raise HTTPException(403, "Invalid API Key")
    return key


async def get_caller(
    presented: Annotated[str | None, Depends(header)],
    token: Annotated[str | None, Depends(optional_token)],
    keys: Keys,
    users: Users,
) -> Caller:
    if presented and token is not None:
        raise HTTPException(403, "Two credentials")
    if presented:
        key = await get_api_key(presented, keys, users)
        return Caller(key.owner, set(key.scopes))
    user = await oauth2.get_current_active_user(await oauth2.get_current_user(token or "", users))
    return Caller(user.username, set(user.scopes).intersection(token_scopes(token or "")))


router = APIRouter(route_class=SafeRoute)


@router.post("/api-keys", status_code=201, response_model=NewKey)
async def create_api_key(
    wanted: KeyRequest,
    user: CurrentUser,
    token: Annotated[str, Depends(oauth2_scheme)],
    keys: Keys,
) -> Response:
    for scope in wanted.scopes:
        if scope not in user.scopes or scope not in token_scopes(token):
            raise HTTPException(403, f"Not yours to give: {scope!a:.40}")
    text = await asyncio.to_thread(draw_key)
    key = record_of(text, wanted, user)
    async with or_503():
        await keys.add(key)
    logger.info("key %s (%s...) was made for %s", key.id, key.prefix, key.owner)
    body = NewKey(key=text, **vars(key)).model_dump(mode="json")
    return JSONResponse(body, 201, headers=CAREFUL)


@router.get("/api-keys")
async def list_api_keys(user: CurrentUser, keys: Keys) -> list[KeyPublic]:
    async with or_503():
        mine = await keys.owned_by(user.username)
    now = datetime.now(UTC)
    alive = [key for key in mine if key.stamp == user.security_stamp and key.expires_at > now]
    return [KeyPublic(**vars(key)) for key in alive]


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_api_key(key_id: str, user: CurrentUser, keys: Keys) -> None:
    async with or_503():
        gone = await keys.revoke(user.username, key_id)
    if not gone:
        raise HTTPException(404, "No such key")


@router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> dict[str, str]:
    return {"message": f"Good morning, {key.name}.", "owner": key.owner}


@router.get("/api/items")
async def read_items(caller: Annotated[Caller, Depends(get_caller)]) -> list[Item]:
    if "items" not in caller.scopes:
        raise HTTPException(403, "The scope items is missing")
    return [Item(item_id="Foo", owner=caller.username)]


app = create_app(
    "Lesson 07: API keys",
    *(hashing.router, oauth2.router, oauth2.demo_router, refresh.router, rbac.router, router),
)
