"""Mended: a change of password in between counts, and only a space separates scopes.

Two threads of its own for the hashing of new passwords, and one service class that holds both
stores."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Response
from pydantic import BaseModel, ConfigDict, SecretStr

from solutions import hashing, oauth2
from solutions.support.apps import create_app
from solutions.support.digests import digest_of
from solutions.hashing import hash_password
from solutions.login import authenticate_user
from solutions.oauth2 import CurrentUser
from solutions.support.oauth_forms import RevocationForm, TokenForm
from solutions.support.oauth_route import OAuthError, OAuthRoute
from solutions.support.passwords import NewPassword, unfit_password
from solutions.stores.refresh_tokens import Family, RefreshStore, RefreshToken, get_refresh_store
from solutions.support.safe_route import SafeRoute
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserStore, get_users

bcrypt_threads = ThreadPoolExecutor(2, "bcrypt")


class Tokens(BaseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int
    refresh_token: str
    scope: str


class RefreshService:
    """Sessions: begun with a password, continued with refresh tokens, ended."""

    def __init__(self, users: UserStore, store: RefreshStore) -> None:
        self.users = users
        self.store = store

    async def begin(self, username: str, password: str, scope: str) -> Tokens:
        user = await authenticate_user(self.users, username, password)
        if not user:
            raise OAuthError("invalid_grant", "Bad credentials")
        granted = self._narrow(scope, user.scopes)
        lifetime = timedelta(days=get_settings().refresh_token_expire_days)
        family = Family(
            id=secrets.token_hex(16),
            username=user.username,
            stamp=user.security_stamp,
            scopes=tuple(granted),
            expires_at=datetime.now(UTC) + lifetime,
        )
        return await self._pair(user, granted, family)

    async def proceed(self, token: str, scope: str) -> Tokens:
        family = await self._spend(token)
        user = await self.users.get(family.username)
        if not user or user.disabled or user.security_stamp != family.stamp:
            raise OAuthError("invalid_grant", "This session is over")
        still = [each for each in family.scopes if each in user.scopes]
        return await self._pair(user, self._narrow(scope, still), family)

    async def end(self, token: str) -> None:
        kept = await self.store.find(digest_of(token))
        if kept:
            await self.store.revoke(kept.family)

    async def change_password(self, username: str, current: str, new: str) -> bool:
        user = await authenticate_user(self.users, username, current)
        if user is None:
            return False
        loop = asyncio.get_running_loop()
        hashed = await loop.run_in_executor(bcrypt_threads, hash_password, new)
        async with self.users.transaction():
            person = await self.users.get(username)
            if person is None or person.disabled or person.security_stamp != user.security_stamp:
                return False
            await self.users.change(username, hashed_password=hashed)
        return True

    async def _spend(self, token: str) -> Family:
        digest = digest_of(token)
        won = await self.store.consume(digest)
        if won is None:
            await self.end(token)  # known and yet not live: there is a copy about
            raise OAuthError("invalid_grant", "This refresh token is not good")
        if datetime.now(UTC) >= won.family.expires_at:
            raise OAuthError("invalid_grant", "This session has reached its end")
        return won.family

    async def _pair(self, user: User, granted: list[str], family: Family) -> Tokens:
        successor = secrets.token_urlsafe(48)
        await self.store.add(RefreshToken(digest_of(successor), family))
        scope = " ".join(granted)
        return Tokens(
            access_token=create_access_token(
                {"sub": user.username, "stamp": user.security_stamp, "scope": scope}
            ),
            expires_in=60 * get_settings().access_token_expire_minutes,
            refresh_token=successor,
            scope=scope,
        )

    @staticmethod
    def _narrow(asked: str, allowed: list[str]) -> list[str]:
        wanted = [word for word in asked.split(" ") if word]
        if not wanted:
            return allowed
        granted = [each for each in allowed if each in wanted]
        if not granted:
            raise OAuthError("invalid_scope", "Nothing of that can be granted")
        return granted


async def get_service(
    users: Annotated[UserStore, Depends(get_users)],
    store: Annotated[RefreshStore, Depends(get_refresh_store)],
) -> RefreshService:
    return RefreshService(users, store)


Service = Annotated[RefreshService, Depends(get_service)]

token_router = APIRouter(route_class=OAuthRoute, tags=["05 refresh"])


@token_router.post("/token")
async def token(form: Annotated[TokenForm, Form()], service: Service) -> Tokens:
    if form.grant_type == "refresh_token":
        if not form.refresh_token:
            raise OAuthError("invalid_request", "refresh_token is missing")
        return await service.proceed(form.refresh_token, form.scope)
    if form.grant_type not in ("", "password"):
        raise OAuthError("unsupported_grant_type", "Unknown grant type")
    if not form.username or not form.password:
        raise OAuthError("invalid_request", "username or password is missing")
    return await service.begin(form.username, form.password, form.scope)


@token_router.post("/revoke")
async def revoke(form: Annotated[RevocationForm, Form()], service: Service) -> Response:
    if not form.token:
        raise OAuthError("invalid_request", "token is missing")
    await service.end(form.token)
    return Response(status_code=200)


class PasswordChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    current_password: SecretStr
    new_password: NewPassword


router = APIRouter(route_class=SafeRoute, tags=["05 refresh"])


@router.post("/users/me/password", status_code=204)
async def change_password(body: PasswordChange, me: CurrentUser, service: Service) -> None:
    old, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    try:
        if await service.change_password(me.username, old, new):
            return
    except ValueError:
        raise unfit_password("new_password") from None
    raise HTTPException(400, "The current password is another one")


router.include_router(token_router)

app = create_app("Lesson 05: refresh tokens, as a service", hashing.router, oauth2.router, oauth2.demo_router, router)
