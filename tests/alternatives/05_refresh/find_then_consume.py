"""Mended: a change of password in between counts, and only a space separates scopes.

Looks first (so that a slip in the scopes costs no token) and lets `consume` decide: whoever
loses there revokes the family. Digests are keyed BLAKE2b instead of SHA-256."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Response
from pydantic import BaseModel, ConfigDict, SecretStr

from solutions import hashing, oauth2
from solutions.support.apps import create_app
from solutions.hashing import hash_password
from solutions.login import authenticate_user
from solutions.support.oauth_forms import RevocationForm, TokenForm
from solutions.support.oauth_route import OAuthError, OAuthRoute
from solutions.support.passwords import NewPassword, unfit_password
from solutions.stores.refresh_tokens import Family, RefreshStore, RefreshToken, get_refresh_store
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.support.threads import run_hashing
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserStore, get_users


class Tokens(BaseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int
    refresh_token: str
    scope: str


@dataclass(frozen=True)
class Stores:
    users: UserStore
    refresh: RefreshStore


async def get_stores(
    users: Annotated[UserStore, Depends(get_users)],
    refresh: Annotated[RefreshStore, Depends(get_refresh_store)],
) -> Stores:
    return Stores(users, refresh)


Both = Annotated[Stores, Depends(get_stores)]


def keyed_digest(token: str) -> str:
    """A stolen store cannot even be searched for a token without the service's key."""
    key = hashlib.sha256(b"refresh tokens:" + get_settings().signing_key.encode()).digest()
    return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), key=key).hexdigest()


async def issue_refresh_token(store: RefreshStore, family: Family) -> str:
    token = token_urlsafe(32)
    await store.add(RefreshToken(keyed_digest(token), family))
    return token


async def look_up(store: RefreshStore, token: str) -> RefreshToken:
    """Only a look; a spent token is an alarm here already."""
    found = await store.find(keyed_digest(token))
    if found is None:
        raise no_session()
    if found.spent:
        await store.revoke(found.family)
        raise no_session()
    return found


async def take(store: RefreshStore, found: RefreshToken) -> Family:
    """The decision. Somebody was quicker: two have the same token."""
    if await store.consume(found.digest) is None:
        await store.revoke(found.family)
        raise no_session()
    return found.family


async def spend_refresh_token(store: RefreshStore, token: str) -> Family:
    family = await take(store, await look_up(store, token))
    if over(family):
        raise no_session()
    return family


def over(family: Family) -> bool:
    return family.expires_at <= datetime.now(UTC)


def no_session() -> OAuthError:
    return OAuthError("invalid_grant", "No such session, log in")


async def owner_of(users: UserStore, family: Family) -> User:
    user = await users.get(family.username)
    if user is None:
        raise no_session()
    if user.disabled:
        raise no_session()
    if user.security_stamp != family.stamp:
        raise no_session()
    return user


def select(asked: str, allowed: list[str]) -> list[str]:
    names = [word for word in asked.split(" ") if word]
    if not names:
        return allowed
    chosen = [name for name in dict.fromkeys(names) if name in allowed]
    if not chosen:
        raise OAuthError("invalid_scope", "None of the scopes is available")
    return chosen


def pair(user: User, scopes: list[str], refresh_token: str) -> Tokens:
    scope = " ".join(scopes)
    access = create_access_token(
        {"sub": user.username, "stamp": user.security_stamp, "scope": scope}
    )
    seconds = get_settings().access_token_expire_minutes * 60
    return Tokens(access_token=access, expires_in=seconds, refresh_token=refresh_token, scope=scope)


async def log_in(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    user = await authenticate_user(users, form.username, form.password)
    if user is None:
        raise OAuthError("invalid_grant", "Name or password is wrong")
    scopes = select(form.scope, user.scopes)
    end = datetime.now(UTC) + timedelta(days=get_settings().refresh_token_expire_days)
    family = Family(str(uuid.uuid4()), user.username, user.security_stamp, tuple(scopes), end)
    return pair(user, scopes, await issue_refresh_token(store, family))


async def refresh(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    found = await look_up(store, form.refresh_token)
    family = found.family
    if over(family):
        raise no_session()
    user = await owner_of(users, family)
    scopes = select(form.scope, [name for name in family.scopes if name in user.scopes])
    await take(store, found)
    return pair(user, scopes, await issue_refresh_token(store, family))


oauth_router = APIRouter(route_class=OAuthRoute, tags=["05 refresh"])


@oauth_router.post("/token")
async def issue_tokens(form: Annotated[TokenForm, Form()], stores: Both) -> Tokens:
    if form.grant_type == "refresh_token":
        if not form.refresh_token:
            raise OAuthError("invalid_request", "Which refresh token?")
        return await refresh(form, stores.users, stores.refresh)
    if form.grant_type not in {"password", ""}:
        raise OAuthError("unsupported_grant_type", "Not here")
    if not (form.username and form.password):
        raise OAuthError("invalid_request", "Who is it?")
    return await log_in(form, stores.users, stores.refresh)


@oauth_router.post("/revoke")
async def revoke(form: Annotated[RevocationForm, Form()], stores: Both) -> Response:
    if not form.token:
        raise OAuthError("invalid_request", "Which token?")
    found = await stores.refresh.find(keyed_digest(form.token))
    if found is not None:
        await stores.refresh.revoke(found.family)
    return Response()


class PasswordChange(BaseModel):
    model_config = ConfigDict(extra="forbid")
    current_password: SecretStr
    new_password: NewPassword


async def replace_password(users: UserStore, user: User, current: str, new: str) -> bool:
    verified = await authenticate_user(users, user.username, current)
    if verified is None:
        return False
    hashed = await run_hashing(hash_password, new)
    async with users.transaction():
        latest = await users.get(user.username)
        if latest is None or latest.disabled:
            return False
        if latest.security_stamp != verified.security_stamp:
            return False
        return await users.change(user.username, hashed_password=hashed) is not None


router = APIRouter(route_class=SafeRoute, tags=["05 refresh"])


@router.post("/users/me/password", status_code=204)
async def change_password(change: PasswordChange, user: oauth2.CurrentUser, stores: Both) -> None:
    passwords = (
        change.current_password.get_secret_value(),
        change.new_password.get_secret_value(),
    )
    try:
        done = await replace_password(stores.users, user, *passwords)
    except ValueError:
        raise unfit_password("new_password") from None
    if not done:
        raise HTTPException(400, "Wrong password")


router.include_router(oauth_router)
app = create_app("Lesson 05, look and take", hashing.router, oauth2.router, oauth2.demo_router, router)
