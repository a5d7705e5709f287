"""Keys with a checksum at the end, as code hosts have them; bad keys are a 401; ids from SystemRandom.

A store that fails is asked once more. A missing key and a bad one get the same challenge.
"""

import random
import string
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer

from solutions import hashing, oauth2, rbac, refresh
from solutions.oauth2 import CurrentUser, Item, oauth2_scheme
from solutions.rbac import insufficient_scope, token_scopes
from solutions.stores.api_keys import ApiKey, Keys, KeyStore
from solutions.stores.users import Users, UserStore
from solutions.support.apps import create_app
from solutions.support.key_forms import Caller, KeyPublic, KeyRequest, NewKey
from solutions.support.safe_route import SafeRoute

PREFIX = "faw_"
LETTERS = string.digits + string.ascii_letters
chance = random.SystemRandom()

api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)
optional_token = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)
Presented = Annotated[str | None, Depends(api_key_header)]


def checksum(text: str) -> str:
    number, letters = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, rest = divmod(number, len(LETTERS))
        letters = LETTERS[rest] + letters
    return letters


def draw_key() -> str:
    text = PREFIX + "".join(chance.choices(LETTERS, k=34))
    return text + checksum(text)


def seal(key: str) -> str:
    return blake2b(key.encode(), digest_size=32, person=b"workbook api key").hexdigest()


async def twice(step: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    try:
        return await step(*args)
    except OSError:
        return await step(*args)


async def find_key(keys: KeyStore, users: UserStore, presented: str) -> ApiKey | None:
    body, end = presented[:-6], presented[-6:]
    if not presented.isascii() or checksum(body) != end:
        return None  # mistyped: the store need not be asked
    key = await twice(keys.find, seal(presented))
    if key is None:
        return None
    owner = await twice(users.get, key.owner)
    now = datetime.now(UTC)
    if owner is None or owner.disabled or (owner.security_stamp, True) != (
        key.stamp,
        key.expires_at > now,
    ):
        return None
    return replace(key, scopes=tuple(each for each in owner.scopes if each in key.scopes))


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, {"WWW-Authenticate": 'APIKey realm="api", header="X-API-Key"'})


async def get_api_key(presented: Presented, keys: Keys, users: Users) -> ApiKey:
    if not presented:
        raise unauthorized("API Key required")
    key = await find_key(keys, users, presented)
    if key is None:
        raise unauthorized("Invalid API Key")
    return key


async def get_caller(
    request: Request,
    presented: Presented,
    token: Annotated[str | None, Depends(optional_token)],
    keys: Keys,
    users: Users,
) -> Caller:
    if presented:
        if "authorization" in request.headers:
            raise unauthorized("One credential at a time")
        key = await get_api_key(presented, keys, users)
        return Caller(key.owner, set(key.scopes))
    user = await oauth2.get_current_active_user(await oauth2.get_current_user(token or "", users))
    return Caller(user.username, set(token_scopes(token or "")).intersection(user.scopes))


router = APIRouter(route_class=SafeRoute)


@router.post("/api-keys", status_code=201)
async def create_api_key(
    wanted: KeyRequest,
    user: CurrentUser,
    token: Annotated[str, Depends(oauth2_scheme)],
    keys: Keys,
    response: Response,
) -> NewKey:
    allowed = set(token_scopes(token)).intersection(user.scopes)
    if not allowed.issuperset(wanted.scopes):
        raise HTTPException(422, "Scopes that are not yours to give")
    text, now = draw_key(), datetime.now(UTC)
    key = ApiKey(
        digest=seal(text),
        id=f"{chance.getrandbits(96):024x}",
        prefix=text[:8],
        name=wanted.name,
        owner=user.username,
        stamp=user.security_stamp,
        scopes=tuple(wanted.scopes),
        created_at=now,
        expires_at=now + timedelta(days=wanted.expires_in_days),
    )
    await twice(keys.add, key)
    response.headers["Cache-Control"] = "no-store"
    return NewKey(key=text, **vars(key))


@router.get("/api-keys")
async def list_api_keys(user: CurrentUser, keys: Keys) -> list[KeyPublic]:
    mine = await twice(keys.owned_by, user.username)
    return [KeyPublic(**vars(key)) for key in mine if key.stamp == user.security_stamp]


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_api_key(key_id: str, user: CurrentUser, keys: Keys) -> None:
    if not await twice(keys.revoke, user.username, key_id):
        raise HTTPException(404, "No such key")


@router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> dict[str, str]:
    return {"message": "Hello, program.", "owner": key.owner}


@router.get("/api/items")
async def read_items(caller: Annotated[Caller, Depends(get_caller)]) -> list[Item]:
    if "items" not in caller.scopes:
        raise insufficient_scope("items")
    return [Item(item_id="Foo", owner=caller.username)]


app = create_app(
    "Lesson 07: API keys",
    *(hashing.router, oauth2.router, oauth2.demo_router, refresh.router, rbac.router, router),
)
