"""Mended: who is disabled meanwhile changes nothing, and only a space separates scopes.

The password change checks the new password cheaply first, uses verify_password, and sets the
hash only if the verified one is still there; hashing goes through a limiter of its own."""

import os
import secrets
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Form, HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, SecretStr

from solutions import hashing, oauth2
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.hashing import encode_password, hash_password, verify_password
from solutions.login import authenticate_user
from solutions.support.oauth_forms import RevocationForm, TokenForm
from solutions.support.oauth_route import OAuthError, OAuthRoute
from solutions.support.passwords import NewPassword, unfit_password
from solutions.stores.refresh_tokens import Family, RefreshStore, RefreshToken, get_refresh_store
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserStore, get_users

Users = Annotated[UserStore, Depends(get_users)]
Store = Annotated[RefreshStore, Depends(get_refresh_store)]

_slow_work = anyio.CapacityLimiter(max(1, (os.cpu_count() or 2) - 1))


async def slowly(function: Callable[..., Any], *args: Any) -> Any:
    async with _slow_work:
        return await run_in_threadpool(function, *args)


class Tokens(BaseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int
    refresh_token: str
    scope: str


async def issue_refresh_token(store: RefreshStore, family: Family) -> str:
    drawn = secrets.token_bytes(40).hex()
    await store.add(RefreshToken(digest_of(drawn), family))
    return drawn


async def spend_refresh_token(store: RefreshStore, token: str) -> Family:
    record = await store.consume(digest := digest_of(token))
    if record is None:
        reused = await store.find(digest)
        if reused is not None:
            await store.revoke(reused.family)
    elif record.family.expires_at > datetime.now(UTC):
        return record.family
    raise OAuthError("invalid_grant", "The refresh token is invalid, expired or revoked")


async def _hand_out(
    user: User, family: Family, asked: str, allowed: Iterable[str], store: RefreshStore
) -> Tokens:
    scope = " ".join(_granted(asked, allowed))
    token = create_access_token(
        {"sub": user.username, "scope": scope, "stamp": user.security_stamp}
    )
    return Tokens(
        access_token=token,
        expires_in=get_settings().access_token_expire_minutes * 60,
        refresh_token=await issue_refresh_token(store, family),
        scope=scope,
    )


def _granted(asked: str, allowed: Iterable[str]) -> list[str]:
    wanted = [word for word in asked.split(" ") if word]
    granted = [scope for scope in allowed if scope in wanted or not wanted]
    if wanted and not granted:
        raise OAuthError("invalid_scope", "The requested scope exceeds what was granted")
    return granted


async def log_in(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    # The same work for known, disabled and unknown names: authenticate_user sees to it.
    user = await authenticate_user(users, form.username, form.password)
    if user is None:
        raise OAuthError("invalid_grant", "The credentials are invalid")
    family = Family(
        uuid.uuid4().hex,
        user.username,
        user.security_stamp,
        tuple(_granted(form.scope, user.scopes)),
        datetime.now(UTC) + timedelta(days=get_settings().refresh_token_expire_days),
    )
    return await _hand_out(user, family, "", family.scopes, store)


async def refresh(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    family = await spend_refresh_token(store, form.refresh_token)
    user = await users.get(family.username)
    if user is None or user.disabled or user.security_stamp != family.stamp:
        raise OAuthError("invalid_grant", "The account has changed")
    left = [scope for scope in family.scopes if scope in user.scopes]
    return await _hand_out(user, family, form.scope, left, store)


oauth_router = APIRouter(route_class=OAuthRoute, tags=["05 refresh"])


@oauth_router.post("/token")
async def issue_tokens(form: Annotated[TokenForm, Form()], users: Users, store: Store) -> Tokens:
    match (form.grant_type or "password", form.username, form.password, form.refresh_token):
        case ("password", "", _, _) | ("password", _, "", _) | ("refresh_token", _, _, ""):
            raise OAuthError("invalid_request", "A required parameter is absent")
        case ("password", _, _, _):
            return await log_in(form, users, store)
        case ("refresh_token", _, _, _):
            return await refresh(form, users, store)
    raise OAuthError("unsupported_grant_type", "The grant type is not supported")


@oauth_router.post("/revoke")
async def revoke(form: Annotated[RevocationForm, Form()], store: Store) -> Response:
    if form.token == "":
        raise OAuthError("invalid_request", "The token is absent")
    if (record := await store.find(digest_of(form.token))) is not None:
        await store.revoke(record.family)
    return Response("")


class PasswordChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    current_password: SecretStr
    new_password: NewPassword


async def replace_password(users: UserStore, user: User, current: str, new: str) -> bool:
    encode_password(new)  # a ValueError here costs no hashing
    person = await users.get(user.username)
    if person is None or person.disabled:
        return False
    if not await slowly(verify_password, current, person.hashed_password):
        return False
    hashed = await slowly(hash_password, new)
    async with users.transaction():
        # A change that came in between wins: `current` is no longer the password then.
        latest = await users.get(person.username)
        if latest is None or latest.disabled:
            return False
        if latest.security_stamp != person.security_stamp:
            return False
        await users.change(person.username, hashed_password=hashed)
    return True


router = APIRouter(route_class=SafeRoute, tags=["05 refresh"])


@router.post("/users/me/password", status_code=204, response_class=Response)
async def change_password(change: PasswordChange, user: oauth2.CurrentUser, users: Users) -> None:
    current, new = change.current_password, change.new_password
    try:
        done = await replace_password(
            users, user, current.get_secret_value(), new.get_secret_value()
        )
    except ValueError:
        raise unfit_password("new_password") from None
    if not done:
        raise HTTPException(status_code=400, detail="The current password does not match")


router.include_router(oauth_router)
app = create_app("Lesson 05: passwords changed with care", hashing.router, oauth2.router, oauth2.demo_router, router)
