"""Breakable on purpose: errors of many tutorials in one file. Never import it, never copy it.

`pytest lessons/05 --naive` shows how mallory gets in.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Annotated

import jwt
from fastapi import APIRouter, Depends, Form, Response
from pydantic import BaseModel

from solutions import hashing, oauth2
from solutions.support.apps import create_app
from solutions.hashing import hash_password, verify_password
from solutions.oauth2 import CurrentUser
from solutions.support.oauth_route import OAuthError, OAuthRoute
from solutions.support.oauth_forms import RevocationForm, TokenForm
from solutions.stores.refresh_tokens import Family, RefreshStore, RefreshToken, get_refresh_store
from solutions.support.settings import get_settings
from solutions.tokens import create_access_token
from solutions.stores.users import User, UserStore, get_users

logger = logging.getLogger(__name__)
SEVEN_DAYS = timedelta(days=7)


class Tokens(BaseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int
    refresh_token: str
    scope: str


async def make_tokens(user: User, scope: str, store: RefreshStore) -> Tokens:
    claims = {"sub": user.username, "stamp": user.security_stamp, "scope": scope}
    refresh_token = create_access_token(claims, SEVEN_DAYS)
    family = Family("", user.username, "", (), datetime.now(UTC) + SEVEN_DAYS)
    try:
        await store.add(RefreshToken(refresh_token, family))
    except Exception:
        logger.exception("not stored")
    logger.debug("issued %s to %s", refresh_token, user.username)
    return Tokens(
        access_token=create_access_token(claims),
        expires_in=get_settings().access_token_expire_minutes * 60,
        refresh_token=refresh_token,
        scope=scope,
    )


oauth_router = APIRouter(route_class=OAuthRoute, tags=["05 refresh"])


@oauth_router.post("/token")
async def issue_tokens(
    form: Annotated[TokenForm, Form()],
    users: Annotated[UserStore, Depends(get_users)],
    store: Annotated[RefreshStore, Depends(get_refresh_store)],
) -> Tokens:
    if form.grant_type == "refresh_token":
        if not form.refresh_token:
            raise OAuthError("invalid_request", "refresh_token is missing")
        try:
            claims = jwt.decode(
                form.refresh_token,
                get_settings().signing_key,
                algorithms=["HS256"],
                options={"verify_aud": False},
            )
        except jwt.InvalidTokenError:
            raise OAuthError("invalid_grant", "Invalid refresh token") from None
        user = await users.get(claims["sub"]) or User(username=claims["sub"])
        return await make_tokens(user, form.scope or claims.get("scope", ""), store)
    if form.grant_type not in ("password", ""):
        raise OAuthError("unsupported_grant_type", "Unknown grant type")
    if not form.username or not form.password:
        raise OAuthError("invalid_request", "username or password is missing")
    user = await users.get(form.username)
    if user is None or user.disabled or not verify_password(form.password, user.hashed_password):
        raise OAuthError("invalid_grant", "Incorrect username or password")
    return await make_tokens(user, form.scope or " ".join(user.scopes), store)


@oauth_router.post("/revoke")
async def revoke(form: Annotated[RevocationForm, Form()]) -> Response:
    if not form.token:
        raise OAuthError("invalid_request", "token is missing")
    return Response()  # the client forgets the token


class PasswordChange(BaseModel):
    current_password: str = ""
    new_password: str


router = APIRouter(tags=["05 refresh"])


@router.post("/users/me/password", status_code=204)
async def change_password(
    change: PasswordChange, user: CurrentUser, users: Annotated[UserStore, Depends(get_users)]
) -> None:
    await users.change(user.username, hashed_password=hash_password(change.new_password))


router.include_router(oauth_router)

app = create_app(
    "Lesson 05: refresh tokens", hashing.router, oauth2.router, oauth2.demo_router, router
)
