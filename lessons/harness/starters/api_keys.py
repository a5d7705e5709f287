"""Lesson 07. API keys: for programs that act for somebody, within limits and until a day."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response, Security, status
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer

from solutions import hashing, oauth2, rbac, refresh
from solutions.oauth2 import TOKEN_URL, CurrentUser, Item, oauth2_scheme
from solutions.rbac import insufficient_scope, token_scopes
from solutions.stores.api_keys import ApiKey, Keys, KeyStore
from solutions.stores.users import Users, UserStore
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.support.key_forms import Caller, KeyPublic, KeyRequest, NewKey, record_of
from solutions.support.safe_route import SafeRoute
from solutions.support.scopes import SCOPES

PREFIX = "faw_"  # a search for leaked keys, in code or logs, needs something to look for

api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)
optional_token = OAuth2PasswordBearer(tokenUrl=TOKEN_URL, scopes=SCOPES, auto_error=False)
PresentedKey = Annotated[str | None, Security(api_key_header)]


def draw_key() -> str:
    """Draw a new API key: the prefix and 256 random bits (ASVS 11.5.1)."""
    raise NotImplementedError("TODO 1: draw a key that nobody can guess")


async def find_key(keys: KeyStore, users: UserStore, presented: str) -> ApiKey | None:
    """Return the key if it is good at this moment, with the scopes that it has at this moment.

    None for a key that is unknown, revoked or expired, and for one whose owner is gone, disabled,
    or has changed the password since. A key never has a scope that its owner has lost (CWE-250).
    """
    raise NotImplementedError("TODO 2: return the key if it is good at this moment")


async def get_api_key(presented: PresentedKey, keys: Keys, users: Users) -> ApiKey:
    """Return the caller's API key. Raises 401 without one, and one 403 for every bad one."""
    raise NotImplementedError("TODO 3: tell a missing key from a bad one")


async def get_caller(
    presented: PresentedKey,
    token: Annotated[str | None, Depends(optional_token)],
    keys: Keys,
    users: Users,
) -> Caller:
    """Return who calls, by token or by key. Raises what either would, and 400 for both at once."""
    if presented is not None and token is not None:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Send a token or an API key, not both")
    if presented is not None:
        key = await get_api_key(presented, keys, users)
        return Caller(username=key.owner, scopes=set(key.scopes))
    # By hand, since only one of the two credentials is there.
    user = await oauth2.get_current_active_user(await oauth2.get_current_user(token or "", users))
    return Caller(username=user.username, scopes=set(token_scopes(token or "")) & set(user.scopes))


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
    mine = [key for key in await keys.owned_by(user.username) if key.stamp == user.security_stamp]
    return [KeyPublic(**vars(key)) for key in mine]


@router.delete("/api-keys/{key_id}", status_code=status.HTTP_204_NO_CONTENT)
async def revoke_api_key(key_id: str, user: CurrentUser, keys: Keys) -> None:
    """Revoke one of the caller's keys, at once. 404 for anybody else's, as for no key at all."""
    if not await keys.revoke(user.username, key_id):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "No such key")


demo_router = APIRouter(route_class=SafeRoute, tags=["07 API keys"])  # not for your own app


@demo_router.get("/api/protected")
async def read_protected(key: Annotated[ApiKey, Depends(get_api_key)]) -> dict[str, str]:
    """Greet a program."""
    return {"message": "Your key is good.", "owner": key.owner}


@demo_router.get("/api/items")
async def read_items(caller: Annotated[Caller, Depends(get_caller)]) -> list[Item]:
    """List the caller's items, for a token or a key with the scope `items`."""
    if "items" not in caller.scopes:
        raise insufficient_scope("items")
    return [Item(item_id="Foo", owner=caller.username)]


app = create_app(
    "Lesson 07: API keys",
    *(hashing.router, oauth2.router, oauth2.demo_router, refresh.router, rbac.router),
    *(router, demo_router),
)
