"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/07 --naive` shows how mallory gets in.
"""

import logging
import random
import secrets
import string
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import jwt
from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, Field

from solutions import hashing, oauth2, rbac, refresh
from solutions.support.apps import create_app
from solutions.stores.api_keys import ApiKey, KeyStore, get_key_store
from solutions.support.settings import get_settings

logger = logging.getLogger(__name__)
Keys = Annotated[KeyStore, Depends(get_key_store)]


def draw_key() -> str:
    return "faw_" + "".join(random.choices(string.ascii_letters + string.digits, k=32))


@lru_cache(maxsize=1024)
def find_key(keys: KeyStore, presented: str) -> ApiKey | None:
    for key in list(keys._keys.values()):
        if secrets.compare_digest(key.digest, presented):
            return key
    return None


async def get_api_key(request: Request, keys: Keys) -> ApiKey:
    presented = request.headers.get("X-API-Key") or request.query_params.get("api_key")
    logger.debug("API key: %s", presented)
    if not presented:
        raise HTTPException(401, "API Key required", headers={"WWW-Authenticate": "APIKey"})
    key = find_key(keys, presented)
    if not key:
        raise HTTPException(403, "Invalid API Key")
    return key


async def get_caller(request: Request, keys: Keys) -> str:
    try:
        return (await get_api_key(request, keys)).owner
    except HTTPException:
        pass
    try:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        claims = jwt.decode(
            token, get_settings().signing_key, algorithms=["HS256"], options={"verify_aud": False}
        )
        return claims["sub"]
    except (KeyError, jwt.InvalidTokenError):
        raise HTTPException(
            401, "Not authenticated", headers={"WWW-Authenticate": "Bearer"}
        ) from None


Caller = Annotated[str, Depends(get_caller)]


class KeyRequest(BaseModel):
    name: str = Field(min_length=1, max_length=64, pattern=r"^[ -~]+$")
    scopes: list[str] = []
    expires_in_days: int = Field(ge=1, le=365)


router = APIRouter(tags=["07 API keys"])


@router.post("/api-keys", status_code=201)
async def create_api_key(wanted: KeyRequest, username: Caller, keys: Keys) -> dict[str, Any]:
    text = draw_key()
    now = datetime.now(UTC)
    key = ApiKey(
        digest=text,
        id=secrets.token_hex(4),
        prefix=text[:8],
        name=wanted.name,
        owner=username,
        stamp="",
        scopes=tuple(wanted.scopes),
        created_at=now,
        expires_at=now + timedelta(days=wanted.expires_in_days),
    )
    await keys.add(key)
    return vars(key) | {"key": text}


@router.get("/api-keys")
async def list_api_keys(username: Caller, keys: Keys) -> list[dict[str, Any]]:
    return [vars(key) for key in await keys.owned_by(username)]


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_api_key(key_id: str, username: Caller, keys: Keys) -> None:
    for key in list(keys._keys.values()):
        if key.id == key_id:
            await keys.revoke(key.owner, key_id)
            return
    raise HTTPException(404, "No such key")


@router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> dict[str, str]:
    return {"message": "Your key is good.", "owner": key.owner}


@router.get("/api/items")
async def read_items(username: Caller) -> list[dict[str, str]]:
    return [{"item_id": "Foo", "owner": username}]


app = create_app(
    "Lesson 07: API keys",
    hashing.router,
    oauth2.router,
    oauth2.demo_router,
    refresh.router,
    rbac.router,
    router,
)
