"""Mended: the list leaves out what died with a password.

Keys as faw_<handle>_<base62 secret>, at rest as an HMAC under a key derived from the settings' one.

The handle is shown as the prefix; the `id` that revokes is drawn apart from the key.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response, Security
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from solutions import hashing, oauth2, rbac, refresh
from solutions.support.apps import create_app
from solutions.stores.api_keys import ApiKey, KeyStore, get_key_store
from solutions.oauth2 import (
    SCOPES,
    CurrentUser,
    Item,
    get_current_active_user,
    get_current_user,
    oauth2_scheme,
)
from solutions.rbac import token_scopes
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.stores.users import UserStore, get_users

PREFIX = "faw_"
HANDLE_LENGTH = 8
SECRET_LENGTH = 32
SHOWN_CHARACTERS = len(PREFIX) + HANDLE_LENGTH
BASE62 = string.digits + string.ascii_letters
SHAPE = re.compile(rf"{PREFIX}[0-9a-f]{{{HANDLE_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH}}}")

api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)
optional_token = OAuth2PasswordBearer(tokenUrl="token", scopes=SCOPES, auto_error=False)

Users = Annotated[UserStore, Depends(get_users)]
Keys = Annotated[KeyStore, Depends(get_key_store)]
PresentedKey = Annotated[str | None, Security(api_key_header)]


def draw_key() -> str:
    handle = secrets.token_hex(HANDLE_LENGTH // 2)
    secret = "".join(secrets.choice(BASE62) for _ in range(SECRET_LENGTH))
    return f"{PREFIX}{handle}_{secret}"


def seal(text: str) -> str:
    """Return what the store gets. Who steals the table alone cannot even check a guess."""
    pepper = hmac.digest(get_settings().signing_key.encode(), b"api keys at rest", "sha256")
    return hmac.new(pepper, text.encode("ascii"), hashlib.sha256).hexdigest()


async def find_key(keys: KeyStore, users: UserStore, presented: str) -> ApiKey | None:
    if not SHAPE.fullmatch(presented):
        return None
    key = await keys.find(seal(presented))
    if key is None:
        return None
    if datetime.now(UTC) >= key.expires_at:
        return None
    match await users.get(key.owner):
        case owner if owner and not owner.disabled and owner.security_stamp == key.stamp:
            left = set(owner.scopes)
            return replace(key, scopes=tuple(each for each in key.scopes if each in left))
    return None


async def get_api_key(presented: PresentedKey, keys: Keys, users: Users) -> ApiKey:
    if presented is None or presented == "":
        raise HTTPException(
            status_code=401,
            detail="API Key required",
            headers={"WWW-Authenticate": 'APIKey realm="workbook"'},
        )
    if key := await find_key(keys, users, presented):
        return key
    raise HTTPException(status_code=403, detail="Invalid API Key")


@dataclass(frozen=True)
class Caller:
    username: str
    scopes: set[str]


async def get_caller(
    presented: PresentedKey,
    token: Annotated[str | None, Depends(optional_token)],
    keys: Keys,
    users: Users,
) -> Caller:
    match presented, token:
        case str(), str():
            raise HTTPException(400, "Token and key together")
        case str(), None:
            key = await get_api_key(presented, keys, users)
            return Caller(key.owner, set(key.scopes))
        case _:
            user = await get_current_active_user(await get_current_user(token or "", users))
            return Caller(user.username, set(user.scopes) & set(token_scopes(token or "")))


def refuse_unprintable(name: str) -> str:
    if name.isprintable():
        return name
    raise ValueError("unprintable")


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


@router.post("/api-keys", status_code=201)
async def create_api_key(
    wanted: KeyRequest,
    user: CurrentUser,
    token: Annotated[str, Depends(oauth2_scheme)],
    keys: Keys,
    response: Response,
) -> NewKey:
    if set(wanted.scopes) - (set(token_scopes(token)) & set(user.scopes)):
        raise HTTPException(status_code=403, detail="Scope out of reach")
    text = draw_key()
    prefix, _, _ = text.rpartition("_")
    created_at = datetime.now(UTC)
    key = ApiKey(
        digest=seal(text),
        id=secrets.token_urlsafe(12),
        prefix=prefix,
        name=wanted.name,
        owner=user.username,
        stamp=user.security_stamp,
        scopes=tuple(sorted(set(wanted.scopes))),
        created_at=created_at,
        expires_at=created_at + timedelta(days=wanted.expires_in_days),
    )
    await keys.add(key)
    response.headers["Cache-Control"] = "no-store"
    return NewKey(key=text, **vars(key))


@router.get("/api-keys")
async def list_api_keys(user: CurrentUser, keys: Keys) -> list[KeyPublic]:
    mine = await keys.owned_by(user.username)
    return [KeyPublic(**vars(key)) for key in mine if key.stamp == user.security_stamp]


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_api_key(key_id: str, user: CurrentUser, keys: Keys) -> None:
    if not await keys.revoke(user.username, key_id):
        raise HTTPException(status_code=404, detail="Not Found")


@router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> Greeting:
    return Greeting(message="Welcome.", owner=key.owner)


@router.get("/api/items")
async def read_items(caller: Annotated[Caller, Depends(get_caller)]) -> list[Item]:
    if "items" not in caller.scopes:
        raise HTTPException(status_code=403, detail="items is not among your scopes")
    return [Item(item_id="Foo", owner=caller.username)]


app = create_app(
    "Lesson 07: API keys", hashing.router, oauth2.router, oauth2.demo_router, refresh.router, rbac.router, router
)
