"""Mended: the list leaves out what died with a password.

Plain `def` routes and dependencies, which FastAPI runs in threads, around one service class."""

import datetime as dt
import secrets
import uuid
from dataclasses import dataclass, replace
from typing import Annotated, Optional

from anyio import from_thread, to_thread
from fastapi import APIRouter, Depends, HTTPException, Response, Security
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from pydantic import BaseModel, ConfigDict, Field, field_validator

from solutions import hashing, oauth2, rbac, refresh
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.stores.api_keys import ApiKey, KeyStore, get_key_store
from solutions.oauth2 import SCOPES, CurrentUser, Item, oauth2_scheme, unauthorized
from solutions.rbac import token_scopes
from solutions.support.safe_route import SafeRoute
from solutions.tokens import InvalidToken, decode_token
from solutions.stores.users import User, UserStore, get_users

PREFIX = "faw_"
ask = from_thread.run  # the stores are asynchronous: their loop does it, the thread waits
SHOWN_CHARACTERS = 10

api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)
optional_token = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES, auto_error=False)


def draw_key() -> str:
    return PREFIX + secrets.token_urlsafe(24)


class ScopeNotGranted(Exception):
    pass


class ApiKeyService:
    """All that happens to keys; knows nothing of HTTP."""

    def __init__(self, keys: KeyStore, users: UserStore) -> None:
        self.keys = keys
        self.users = users

    @staticmethod
    def now() -> dt.datetime:
        return dt.datetime.now(dt.timezone.utc)

    def lookup(self, text: str) -> Optional[ApiKey]:
        stored = ask(self.keys.find, digest_of(text))
        if stored is None:
            return None
        owner = ask(self.users.get, stored.owner)
        alive = (
            self.now() < stored.expires_at
            and owner is not None
            and not owner.disabled
            and owner.security_stamp == stored.stamp
        )
        if not alive:
            return None
        return replace(stored, scopes=tuple(s for s in stored.scopes if s in owner.scopes))

    def issue(self, owner: User, allowed: set, name: str, scopes: list, days: int):
        for scope in scopes:
            if scope not in allowed:
                raise ScopeNotGranted
        text = draw_key()
        born = self.now()
        record = ApiKey(
            digest=digest_of(text),
            id=str(uuid.uuid4()),
            prefix=text[:SHOWN_CHARACTERS],
            name=name,
            owner=owner.username,
            stamp=owner.security_stamp,
            scopes=tuple(scopes),
            created_at=born,
            expires_at=born + dt.timedelta(days=days),
        )
        ask(self.keys.add, record)
        return text, record


def get_service(
    keys: Annotated[KeyStore, Depends(get_key_store)],
    users: Annotated[UserStore, Depends(get_users)],
) -> ApiKeyService:
    return ApiKeyService(keys, users)


Service = Annotated[ApiKeyService, Depends(get_service)]
PresentedKey = Annotated[Optional[str], Security(api_key_header)]


async def find_key(keys: KeyStore, users: UserStore, presented: str) -> Optional[ApiKey]:
    return await to_thread.run_sync(ApiKeyService(keys, users).lookup, presented)


def get_api_key(presented: PresentedKey, service: Service) -> ApiKey:
    if not presented:
        raise HTTPException(401, "API Key required", {"WWW-Authenticate": "APIKey"})
    key = service.lookup(presented)
    if key is None:
        raise HTTPException(403, "Invalid API Key")
    return key


@dataclass(frozen=True)
class Caller:
    username: str
    scopes: frozenset


def user_of(token: str, users: UserStore) -> User:
    """What lesson 04's dependency does, for threads."""
    try:
        claims = decode_token(token)
    except InvalidToken as error:
        raise unauthorized(str(error)) from None
    user = ask(users.get, claims["sub"])
    if user is None or claims.get("stamp") != user.security_stamp:
        raise unauthorized("Could not validate credentials")
    if user.disabled:
        raise HTTPException(400, "Inactive user")
    return user


def get_caller(
    presented: PresentedKey,
    token: Annotated[Optional[str], Depends(optional_token)],
    service: Service,
) -> Caller:
    if presented and token:
        raise HTTPException(400, "Two credentials at once")
    if presented:
        key = get_api_key(presented, service)
        return Caller(key.owner, frozenset(key.scopes))
    if not token:
        raise unauthorized("Not authenticated")
    user = user_of(token, service.users)
    return Caller(user.username, frozenset(token_scopes(token)).intersection(user.scopes))


class KeyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    scopes: list[str] = Field(max_length=20)
    expires_in_days: int = Field(ge=1, le=365)

    @field_validator("name")
    @classmethod
    def refuse_unprintable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("printable characters only")
        return value


class KeyPublic(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    prefix: str
    name: str
    scopes: list[str]
    created_at: dt.datetime
    expires_at: dt.datetime


class NewKey(KeyPublic):
    key: str


class Greeting(BaseModel):
    message: str
    owner: str


router = APIRouter(route_class=SafeRoute, tags=["07 API keys"])


@router.post("/api-keys", status_code=201, response_model=NewKey)
def create_api_key(
    wanted: KeyRequest,
    user: CurrentUser,
    token: Annotated[str, Depends(oauth2_scheme)],
    service: Service,
    response: Response,
):
    allowed = set(user.scopes).intersection(token_scopes(token))
    try:
        text, record = service.issue(
            user, allowed, wanted.name, wanted.scopes, wanted.expires_in_days
        )
    except ScopeNotGranted:
        raise HTTPException(403, "You cannot pass on scopes that you do not have") from None
    response.headers["Cache-Control"] = "no-store"
    return NewKey(key=text, **KeyPublic.model_validate(record).model_dump())


@router.get("/api-keys", response_model=list[KeyPublic])
def list_api_keys(user: CurrentUser, service: Service):
    mine = ask(service.keys.owned_by, user.username)
    return [key for key in mine if key.stamp == user.security_stamp]


@router.delete("/api-keys/{key_id}", status_code=204)
def revoke_api_key(key_id: str, user: CurrentUser, service: Service) -> None:
    if not ask(service.keys.revoke, user.username, key_id):
        raise HTTPException(404, "API key not found")


@router.get("/api/protected")
def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> Greeting:
    return Greeting(message=f"Hello, program of {key.owner}", owner=key.owner)


@router.get("/api/items")
def read_items(caller: Annotated[Caller, Depends(get_caller)]) -> list[Item]:
    if "items" not in caller.scopes:
        raise HTTPException(403, "This needs the scope items")
    return [Item(item_id="Foo", owner=caller.username)]


app = create_app(
    "Lesson 07: API keys", hashing.router, oauth2.router, oauth2.demo_router, refresh.router, rbac.router, router
)
