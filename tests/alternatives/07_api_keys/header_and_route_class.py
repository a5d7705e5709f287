"""Mended: the list leaves out what died with a password.

A Header parameter instead of APIKeyHeader, one exception class, answers written by hand.

A route class of its own turns the refusals into answers and lets nobody cache anything.
"""

import base64
import dataclasses
import secrets
from datetime import datetime, timedelta, timezone
from typing import Annotated, Optional

from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import BaseModel, Field, StrictInt, field_validator

from solutions import hashing, oauth2, rbac, refresh
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.stores.api_keys import ApiKey, KeyStore, get_key_store
from solutions.oauth2 import CurrentUser, get_current_active_user, get_current_user
from solutions.rbac import token_scopes
from solutions.support.safe_route import SafeRoute
from solutions.stores.users import UserStore, get_users

PREFIX = "faw_"
SHOWN_CHARACTERS = 8


class Refused(HTTPException):
    """Every refusal of this module. An HTTPException, so that any other app understands it too."""

    STATUS = {
        "API Key required": 401,
        "Invalid API Key": 403,
        "Scope not yours to give": 403,
        "Scope missing": 403,
        "One credential, please": 400,
        "Unknown key": 404,
    }

    def __init__(self, reason: str) -> None:
        code = self.STATUS[reason]
        challenge = {"WWW-Authenticate": "APIKey"} if code == 401 else None
        super().__init__(code, reason, challenge)

    def answer(self) -> JSONResponse:
        return JSONResponse({"detail": self.detail}, self.status_code, self.headers)


class KeyRoute(SafeRoute):
    def get_route_handler(self):
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                response = await handle(request)
            except Refused as refused:
                response = refused.answer()
            response.headers["Cache-Control"] = "no-store"
            return response

        return handler


async def api_key_header(x_api_key: Annotated[Optional[str], Header()] = None) -> Optional[str]:
    return x_api_key or None


async def optional_token(authorization: Annotated[Optional[str], Header()] = None) -> str:
    scheme, token = get_authorization_scheme_param(authorization)
    return token if scheme.lower() == "bearer" else ""


PresentedKey = Annotated[Optional[str], Depends(api_key_header)]
BearerToken = Annotated[str, Depends(optional_token)]
Users = Annotated[UserStore, Depends(get_users)]
Keys = Annotated[KeyStore, Depends(get_key_store)]


def draw_key() -> str:
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(24)).decode()


async def find_key(keys: KeyStore, users: UserStore, presented: str) -> Optional[ApiKey]:
    key = await keys.find(digest_of(presented))
    owner = await users.get(key.owner) if key else None
    if not key or not owner:
        return None
    remaining = key.expires_at - datetime.now(timezone.utc)
    if owner.disabled or key.stamp != owner.security_stamp or remaining <= timedelta(0):
        return None
    return dataclasses.replace(key, scopes=tuple(filter(owner.scopes.__contains__, key.scopes)))


async def get_api_key(presented: PresentedKey, keys: Keys, users: Users) -> ApiKey:
    if not presented:
        raise Refused("API Key required")
    key = await find_key(keys, users, presented)
    if not key:
        raise Refused("Invalid API Key")
    return key


class Caller(BaseModel):
    username: str
    scopes: set[str]


async def get_caller(
    presented: PresentedKey, token: BearerToken, keys: Keys, users: Users
) -> Caller:
    if presented and token:
        raise Refused("One credential, please")
    if presented:
        key = await get_api_key(presented, keys, users)
        return Caller(username=key.owner, scopes=set(key.scopes))
    user = await get_current_active_user(await get_current_user(token, users))
    return Caller(username=user.username, scopes=set(token_scopes(token)) & set(user.scopes))


class KeyRequest(BaseModel, extra="forbid"):
    name: str = Field(min_length=1, max_length=64)
    scopes: list[str] = Field(max_length=20)
    expires_in_days: StrictInt = Field(ge=1, le=365)

    @field_validator("name")
    def refuse_unprintable(cls, name):
        if not name.isprintable():
            raise ValueError("not printable")
        return name


def in_public(key: ApiKey) -> dict:
    return {
        "id": key.id,
        "prefix": key.prefix,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat(),
    }


router = APIRouter(route_class=KeyRoute, tags=["07 API keys"])


@router.post("/api-keys", status_code=201)
async def create_api_key(wanted: KeyRequest, user: CurrentUser, token: BearerToken, keys: Keys):
    granted = token_scopes(token)
    if not all(scope in granted and scope in user.scopes for scope in wanted.scopes):
        raise Refused("Scope not yours to give")
    drawn = draw_key()
    today = datetime.now(timezone.utc)
    key = ApiKey(
        digest=digest_of(drawn),
        id="key-" + secrets.token_hex(8),
        prefix=drawn[:SHOWN_CHARACTERS],
        name=wanted.name,
        owner=user.username,
        stamp=user.security_stamp,
        scopes=tuple(wanted.scopes),
        created_at=today,
        expires_at=today + timedelta(days=wanted.expires_in_days),
    )
    await keys.add(key)
    return JSONResponse({**in_public(key), "key": drawn}, status_code=201)


@router.get("/api-keys")
async def list_api_keys(user: CurrentUser, keys: Keys):
    mine = await keys.owned_by(user.username)
    return JSONResponse([in_public(key) for key in mine if key.stamp == user.security_stamp])


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_api_key(key_id: str, user: CurrentUser, keys: Keys):
    if not await keys.revoke(user.username, key_id):
        raise Refused("Unknown key")
    return Response(status_code=204)


@router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]):
    return JSONResponse({"message": "You have a good key", "owner": key.owner})


@router.get("/api/items")
async def read_items(caller: Annotated[Caller, Depends(get_caller)]):
    if "items" not in caller.scopes:
        raise Refused("Scope missing")
    return JSONResponse([{"item_id": "Foo", "owner": caller.username}])


app = create_app(
    "Lesson 07: API keys", hashing.router, oauth2.router, oauth2.demo_router, refresh.router, rbac.router, router
)
