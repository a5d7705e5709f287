"""Mended: a change of password in between counts, and only a space separates scopes.

Remembers who has which families, so that a password change also revokes them one by one (the
stamp would do alone). Scopes are frozensets, and one foreign scope spoils the request."""

import datetime as dt
import secrets
import threading
from collections import defaultdict
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Response, status
from pydantic import BaseModel, ConfigDict, SecretStr

from solutions import hashing, oauth2
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
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

Users = Annotated[UserStore, Depends(get_users)]
Store = Annotated[RefreshStore, Depends(get_refresh_store)]
Scopes = frozenset[str]


class Sessions:
    """The families of each person that may still be alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._families: defaultdict[str, list[Family]] = defaultdict(list)

    def remember(self, family: Family) -> None:
        with self._lock:
            mine = self._families[family.username]
            mine[:] = [each for each in mine if each.expires_at > now()] + [family]

    async def end_all(self, username: str, store: RefreshStore) -> None:
        with self._lock:
            families = self._families.pop(username, [])
        for family in families:
            await store.revoke(family)


sessions = Sessions()


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Tokens(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int
    refresh_token: str
    scope: str


def grant_scopes(asked: str, allowed: Scopes) -> Scopes:
    wanted = frozenset([word for word in asked.split(" ") if word])
    if not wanted <= allowed:
        raise OAuthError("invalid_scope", "Some scope asked for is out of reach")
    return wanted or allowed


async def issue_refresh_token(store: RefreshStore, family: Family) -> str:
    token = secrets.token_hex(32)
    await store.add(RefreshToken(family=family, digest=digest_of(token)))
    return token


async def spend_refresh_token(store: RefreshStore, token: str) -> Family:
    digest = digest_of(token)
    live = await store.consume(digest)
    if live and live.family.expires_at > now():
        return live.family
    if not live and (copied := await store.find(digest)):
        await store.revoke(copied.family)
    raise OAuthError("invalid_grant", "Refresh token refused")


def answer(user: User, scopes: Scopes, refresh_token: str) -> Tokens:
    scope = " ".join(sorted(scopes))
    return Tokens(
        access_token=create_access_token(
            dict(sub=user.username, stamp=user.security_stamp, scope=scope)
        ),
        expires_in=get_settings().access_token_expire_minutes * 60,
        refresh_token=refresh_token,
        scope=scope,
    )


async def log_in(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    user = await authenticate_user(users, form.username, form.password)
    if user is None:
        raise OAuthError("invalid_grant", "Login refused")
    scopes = grant_scopes(form.scope, frozenset(user.scopes))
    family = Family(
        id=secrets.token_hex(8),
        username=user.username,
        stamp=user.security_stamp,
        scopes=tuple(sorted(scopes)),
        expires_at=now() + dt.timedelta(days=get_settings().refresh_token_expire_days),
    )
    sessions.remember(family)
    return answer(user, scopes, await issue_refresh_token(store, family))


async def refresh(form: TokenForm, users: UserStore, store: RefreshStore) -> Tokens:
    family = await spend_refresh_token(store, form.refresh_token)
    user = await users.get(family.username)
    if user is None or user.disabled or user.security_stamp != family.stamp:
        await store.revoke(family)  # nothing can come of it any more
        raise OAuthError("invalid_grant", "Session refused")
    scopes = grant_scopes(form.scope, frozenset(family.scopes) & frozenset(user.scopes))
    return answer(user, scopes, await issue_refresh_token(store, family))


oauth_router = APIRouter(route_class=OAuthRoute, tags=["05 refresh"])


@oauth_router.post("/token")
async def issue_tokens(form: Annotated[TokenForm, Form()], users: Users, store: Store) -> Tokens:
    grants = {
        "": (log_in, form.username and form.password),
        "password": (log_in, form.username and form.password),
        "refresh_token": (refresh, form.refresh_token),
    }
    if form.grant_type not in grants:
        raise OAuthError("unsupported_grant_type", "There is no such grant")
    grant, complete = grants[form.grant_type]
    if not complete:
        raise OAuthError("invalid_request", "Incomplete")
    return await grant(form, users, store)


@oauth_router.post("/revoke")
async def revoke(form: Annotated[RevocationForm, Form()], store: Store) -> Response:
    if not form.token:
        raise OAuthError("invalid_request", "Incomplete")
    known = await store.find(digest_of(form.token))
    if known:
        await store.revoke(known.family)
    return Response(status_code=status.HTTP_200_OK)


class PasswordChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    current_password: SecretStr
    new_password: NewPassword


async def replace_password(users: UserStore, user: User, current: str, new: str) -> bool:
    if not await authenticate_user(users, user.username, current):
        return False
    hashed = await run_hashing(hashing.hash_password, new)
    async with users.transaction():
        person = await users.get(user.username)
        same = person is not None and person.security_stamp == user.security_stamp
        if not same or person.disabled:
            return False
        await users.change(user.username, hashed_password=hashed)
    return True


router = APIRouter(route_class=SafeRoute, tags=["05 refresh"])


@router.post("/users/me/password", status_code=status.HTTP_204_NO_CONTENT)
async def change_password(
    change: PasswordChange, user: oauth2.CurrentUser, users: Users, store: Store
) -> None:
    try:
        changed = await replace_password(
            users,
            user,
            change.current_password.get_secret_value(),
            change.new_password.get_secret_value(),
        )
    except ValueError:
        raise unfit_password("new_password") from None
    if not changed:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Current password refused")
    await sessions.end_all(user.username, store)


router.include_router(oauth_router)
app = create_app("Lesson 05: tracked families", hashing.router, oauth2.router, oauth2.demo_router, router)
