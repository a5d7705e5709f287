"""Mended: the list leaves out what died with a password.

Guards are objects: one for keys, one that takes either credential and a needed scope.

Dates are in the server's own zone, and have it with them.
"""

import secrets
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response, status
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from solutions import hashing, oauth2, rbac, refresh
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.stores.api_keys import ApiKey, KeyStore, get_key_store
from solutions.oauth2 import (
    SCOPES,
    Item,
    get_current_active_user,
    get_current_user,
    oauth2_scheme,
)
from solutions.rbac import token_scopes
from solutions.support.safe_route import SafeRoute
from solutions.stores.users import User, UserStore, get_users

PREFIX = "faw_"
SHOWN_CHARACTERS = 12

api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)
optional_token = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES, auto_error=False)

Users = Annotated[UserStore, Depends(get_users)]
Keys = Annotated[KeyStore, Depends(get_key_store)]
PresentedKey = Annotated[str | None, Depends(api_key_header)]
PresentedToken = Annotated[str | None, Depends(optional_token)]


def draw_key() -> str:
    return f"{PREFIX}{secrets.token_urlsafe(40)}"


def right_now() -> datetime:
    return datetime.now().astimezone()


class Verdict(Exception):
    """Why a key is no good; for the code, never for the caller."""


async def examine(keys: KeyStore, users: UserStore, presented: str) -> ApiKey:
    key = await keys.find(digest_of(presented))
    if key is None:
        raise Verdict("unknown or revoked")
    if not right_now() < key.expires_at:
        raise Verdict("expired")
    owner = await users.get(key.owner)
    if owner is None or owner.security_stamp != key.stamp:
        raise Verdict("of an account that is no more")
    if owner.disabled:
        raise Verdict("owner disabled")
    both = set(key.scopes) & set(owner.scopes)
    return replace(key, scopes=tuple(scope for scope in key.scopes if scope in both))


async def find_key(keys: KeyStore, users: UserStore, presented: str) -> ApiKey | None:
    try:
        return await examine(keys, users, presented)
    except Verdict:
        return None


class KeyGuard:
    """Takes a key, and nothing else."""

    async def __call__(self, presented: PresentedKey, keys: Keys, users: Users) -> ApiKey:
        if not presented:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                detail="API Key required",
                headers={"WWW-Authenticate": "ApiKey"},
            )
        try:
            return await examine(keys, users, presented)
        except Verdict:
            raise HTTPException(status.HTTP_403_FORBIDDEN, detail="Invalid API Key") from None


get_api_key = KeyGuard()


@dataclass(frozen=True)
class Caller:
    username: str
    scopes: frozenset[str]


class Guard:
    """Takes a token or a key, not both, and wants scopes of it."""

    def __init__(self, *needed: str) -> None:
        self.needed = frozenset(needed)

    async def __call__(
        self, key: PresentedKey, token: PresentedToken, keys: Keys, users: Users
    ) -> Caller:
        caller = await self.identify(key, token, keys, users)
        if not self.needed <= caller.scopes:
            raise HTTPException(status.HTTP_403_FORBIDDEN, "Insufficient scope")
        return caller

    async def identify(self, presented, token, keys, users) -> Caller:
        sent = [credential for credential in (presented, token) if credential]
        if not sent:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                "Not authenticated",
                headers={"WWW-Authenticate": "Bearer, ApiKey"},
            )
        if len(sent) > 1:
            raise HTTPException(status.HTTP_400_BAD_REQUEST, "More than one credential")
        if presented:
            key = await get_api_key(presented, keys, users)
            return Caller(key.owner, frozenset(key.scopes))
        user = await get_current_active_user(await get_current_user(token, users))
        return Caller(user.username, frozenset(user.scopes) & frozenset(token_scopes(token)))


get_caller = Guard()


@dataclass(frozen=True)
class Session:
    """A person with a bearer token in hand."""

    user: User
    scopes: frozenset[str]


class TokenGuard:
    """Takes a bearer token only: what manages keys."""

    async def __call__(
        self,
        user: Annotated[User, Depends(get_current_active_user)],
        token: Annotated[str, Depends(oauth2_scheme)],
    ) -> Session:
        return Session(user, frozenset(token_scopes(token)) & frozenset(user.scopes))


Person = Annotated[Session, Depends(TokenGuard())]


def refuse_unprintable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("Printable characters only, please.")
    return name


class KeyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(refuse_unprintable)]
    scopes: list[str] = Field(max_length=20)
    expires_in_days: int = Field(ge=1, le=365)


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


@router.post("/api-keys", status_code=status.HTTP_201_CREATED)
async def create_api_key(
    wanted: KeyRequest, person: Person, keys: Keys, response: Response
) -> NewKey:
    if not person.scopes.issuperset(wanted.scopes):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "More than this token may do")
    response.headers["Cache-Control"] = "no-store, private"
    start = right_now()
    await keys.add(
        key := ApiKey(
            digest=digest_of(text := draw_key()),
            id=uuid.uuid4().hex,
            prefix=text[:SHOWN_CHARACTERS],
            name=wanted.name,
            owner=person.user.username,
            stamp=person.user.security_stamp,
            scopes=tuple(dict.fromkeys(wanted.scopes)),
            created_at=start,
            expires_at=start + timedelta(days=wanted.expires_in_days),
        )
    )
    return NewKey(**asdict(key), key=text)


@router.get("/api-keys")
async def list_api_keys(person: Person, keys: Keys) -> list[KeyPublic]:
    mine = await keys.owned_by(person.user.username)
    return [KeyPublic(**asdict(key)) for key in mine if key.stamp == person.user.security_stamp]


@router.delete("/api-keys/{key_id}", status_code=status.HTTP_204_NO_CONTENT)
async def revoke_api_key(key_id: str, person: Person, keys: Keys) -> None:
    if not await keys.revoke(person.user.username, key_id):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such key of yours")


@router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> Greeting:
    return Greeting(message="Come in.", owner=key.owner)


@router.get("/api/items")
async def read_items(caller: Annotated[Caller, Depends(Guard("items"))]) -> list[Item]:
    return [Item(item_id="Foo", owner=caller.username)]


app = create_app(
    "Lesson 07: API keys", hashing.router, oauth2.router, oauth2.demo_router, refresh.router, rbac.router, router
)
